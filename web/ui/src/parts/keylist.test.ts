import { readdirSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { KEYS } from './keylist'

const CAPS: Record<string, string> = { Escape: 'Esc', ArrowUp: '↑', ArrowDown: '↓', ArrowLeft: '←', ArrowRight: '→' }

/** Names of keys that a source gives to useKeys, as objects of functions do. */
function keysOf(source: string): string[] {
  if (!source.includes('useKeys')) return []
  return [...source.matchAll(/(?<![\w.'])(?:'([^'\w\s]|\w)'|(Escape|Enter|Arrow\w+|[a-zA-Z])): (?:\(\) =>|\w+,$)/gm)].map((m) => CAPS[m[1] ?? m[2]!] ?? m[1] ?? m[2]!)
}

it('names each key that a page takes', () => {
  const src = new URL('../', import.meta.url)
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((f) => /\.tsx?$/.test(f) && !f.includes('.test.'))
  const taken = new Map<string, string>()
  for (const f of files) for (const k of keysOf(readFileSync(new URL(f, src), 'utf8'))) taken.set(k, f)
  // What the trace, the topology, the issues and the shell take: the search above finds them.
  for (const k of ['j', 'z', ',', 'x', 'c', '[', 'Esc', '→']) expect(taken.has(k), k).toBe(true)
  const named = new Set([...KEYS.flatMap(([keys]) => keys), '?'])
  expect([...taken].filter(([k]) => !named.has(k))).toEqual([])
})
