// The bars choose the heatmap; on a phone a new answer scrolls into view.
element.addEventListener('click', (event) => {
  const bar = event.target.closest('[data-code]');
  if (!bar || bar.disabled) return;
  props.value = {...props.value, chosen: bar.dataset.code};
  trigger('select');
});
let before = '';
watch('value', () => {
  const chosen = props.value.chosen;
  const headline = element.querySelector('.dl-headline');
  if (!before && chosen && window.innerWidth < 700) headline.scrollIntoView({behavior: 'smooth'});
  before = chosen;
});
