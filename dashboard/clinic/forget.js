(image, age, sex, site) => {
  const another = window.dermlensHadImage;
  window.dermlensHadImage = Boolean(image);
  const about = another ? ['', null, null] : [age, sex, site];
  return [{visible: false, __type__: 'update'}, null, '', '', ...about];
}
