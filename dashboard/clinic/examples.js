// A click on an example says which.
element.addEventListener('click', (event) => {
  const example = event.target.closest('[data-index]');
  if (example) trigger('select', {index: Number(example.dataset.index)});
});
