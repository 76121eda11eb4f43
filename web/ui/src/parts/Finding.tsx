import type { ReactNode } from 'react'
import type { Finding as Data, Piece } from '../api/types'
import { count, duration, share } from '../lib/format'
import { Link } from './Link'

export function pieceText(p: Piece): string {
  const v = p.value ?? 0
  switch (p.kind) {
    case 'duration':
      return duration(v)
    case 'count':
      return count(v)
    case 'share':
      return share(v)
    default:
      return p.text ?? ''
  }
}

export function pieces(list: readonly Piece[]): ReactNode[] {
  return list.map((p, i) => {
    const t = pieceText(p)
    const content = p.href ? <Link to={p.href}>{t}</Link> : t
    return p.strong || p.kind !== 'text' ? <b key={i}>{content}</b> : <span key={i}>{content}</span>
  })
}

export function titleText(f: Data | undefined): string {
  return f ? f.title.map(pieceText).join('') : ''
}

/** The sentence that a page begins with, and what belongs beside it. */
export function Finding({ finding, failed, children }: { finding: Data | undefined; failed?: string | false | null | undefined; children?: ReactNode }) {
  return (
    <div className="sum">
      <div className="said">
        <h1>{finding ? pieces(finding.title) : failed || <span className="ghost">Asking…</span>}</h1>
        <p>{finding && finding.text.length > 0 ? pieces(finding.text) : '\u00a0'}</p>
      </div>
      {children && <div className="tags">{children}</div>}
    </div>
  )
}
