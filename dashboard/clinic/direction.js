// Screen readers and the browser's layout need to know the language and which way it runs.
const say = () => {
  document.documentElement.lang = props.value.language;
  document.documentElement.dir = props.value.rtl ? 'rtl' : 'ltr';
};
say();
watch('value', say);
