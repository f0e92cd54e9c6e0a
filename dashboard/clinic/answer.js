// The bars choose the heatmap, and an impression uncovers the answer; on a phone a new answer scrolls into view.
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-code], [data-impression]');
  if (!button || button.disabled) return;
  const {code, impression} = button.dataset;
  props.value = {...props.value, ...(code ? {chosen: code} : {impression})};
  trigger('select');
});
let before = '';
watch('value', () => {
  const chosen = props.value.chosen;
  const headline = element.querySelector('.dl-headline');
  if (!before && chosen && window.innerWidth < 700) headline.scrollIntoView({behavior: 'smooth'});
  before = chosen;
});
