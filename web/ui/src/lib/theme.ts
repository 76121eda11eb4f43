export const THEMES = ['system', 'light', 'dark'] as const
export type Theme = (typeof THEMES)[number]

const KEY = 'hoptrace.theme'

export function chosenTheme(): Theme {
  try {
    const t = localStorage.getItem(KEY)
    return t === 'light' || t === 'dark' ? t : 'system'
  } catch {
    return 'system' // storage is off
  }
}

/** Remembers the choice and applies it (public/theme.js listens). */
export function chooseTheme(t: Theme) {
  try {
    if (t === 'system') localStorage.removeItem(KEY)
    else localStorage.setItem(KEY, t)
  } catch {
    // storage is off: nothing to remember it in
  }
  dispatchEvent(new Event('hoptrace:theme'))
}
