const P1 = 0x9e3779b185ebca87n
const P2 = 0xc2b2ae3d27d4eb4fn
const P3 = 0x165667b19e3779f9n
const P4 = 0x85ebca77c2b2ae63n
const P5 = 0x27d4eb2f165667c5n
const u64 = (n: bigint) => BigInt.asUintN(64, n)
const rotate = (n: bigint, by: bigint) => u64((n << by) | (n >> (64n - by)))
const round = (acc: bigint, lane: bigint) => u64(rotate(u64(acc + lane * P2), 31n) * P1)

/** xxHash64 with seed 0, 16 hex digits: how the instrumentation tells a record's key. */
export function xxhash64(text: string): string {
  const bytes = new TextEncoder().encode(text)
  const view = new DataView(bytes.buffer)
  let at = 0
  let h = P5
  if (bytes.length >= 32) {
    const acc = [u64(P1 + P2), P2, 0n, u64(-P1)]
    for (; at + 32 <= bytes.length; at += 32) for (let i = 0; i < 4; i++) acc[i] = round(acc[i]!, view.getBigUint64(at + i * 8, true))
    h = u64(rotate(acc[0]!, 1n) + rotate(acc[1]!, 7n) + rotate(acc[2]!, 12n) + rotate(acc[3]!, 18n))
    for (const a of acc) h = u64((h ^ round(0n, a)) * P1 + P4)
  }
  h = u64(h + BigInt(bytes.length))
  for (; at + 8 <= bytes.length; at += 8) h = u64(rotate(h ^ round(0n, view.getBigUint64(at, true)), 27n) * P1 + P4)
  if (at + 4 <= bytes.length) {
    h = u64(rotate(h ^ u64(BigInt(view.getUint32(at, true)) * P1), 23n) * P2 + P3)
    at += 4
  }
  for (; at < bytes.length; at++) h = u64(rotate(h ^ u64(BigInt(bytes[at]!) * P5), 11n) * P1)
  h = u64((h ^ (h >> 33n)) * P2)
  h = u64((h ^ (h >> 29n)) * P3)
  return (h ^ (h >> 32n)).toString(16).padStart(16, '0')
}
