import { describe, expect, it } from 'vitest'
import { decoded, kept } from './location'

const NAMES = ['orders', 'mqtt/site/7/temperature%2F+#', 'team/a группа %2F?&#', '100 %', '%25', '支払い', 'a+b', '%zz']

describe('names in a URL', () => {
  it('come through the router as they went in', () => {
    for (const name of NAMES) {
      const q = new URLSearchParams({ topic: name, from: '-1h' }).toString()
      // The router decodes what it is given once.
      expect(new URLSearchParams(decodeURI(kept('?' + q))).get('topic')).toBe(name)
      const path = '/topics/' + encodeURIComponent(name)
      expect(decodeURI(kept(path))).toBe(path)
      expect(decoded(decodeURI(kept(path)).split('/')[2]!)).toBe(name)
    }
  })

  it('that were written by hand stay what they are', () => {
    expect(decoded('50%')).toBe('50%')
    expect(decodeURI(kept('?topic=50%'))).toBe('?topic=50%')
  })
})
