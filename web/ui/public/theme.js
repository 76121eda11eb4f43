// Sets the theme before the first paint: what was chosen, or the system's wish.
(function () {
  var dark = matchMedia('(prefers-color-scheme: dark)')
  function apply() {
    var chosen = null
    try { chosen = localStorage.getItem('hoptrace.theme') } catch (e) { /* storage is off: the system decides */ }
    document.documentElement.dataset.theme = chosen === 'light' || chosen === 'dark' ? chosen : dark.matches ? 'dark' : 'light'
  }
  apply()
  dark.addEventListener('change', apply)
  addEventListener('hoptrace:theme', apply)
})()
