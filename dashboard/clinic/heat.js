// The slider uncovers the heatmap from the left.
element.addEventListener('input', (event) => {
  const heat = element.querySelector('.dl-heat');
  if (heat) heat.style.clipPath = `inset(0 ${100 - event.target.value}% 0 0)`;
});
