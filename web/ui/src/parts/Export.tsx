import { question, type Params } from '../api/client'

/** All rows of a list as a file, under the filters that it is shown with. what: what the rows are; named: where a page has several, it is written before them. */
export function Export({ path, params, what, named = false }: { path: string; params: Params; what: string; named?: boolean }) {
  return (
    <span className="export" role="group" aria-label={`All ${what} as a file`}>
      {named && <span className="muted small">{what}</span>}
      {(['csv', 'json'] as const).map((format) => (
        <a key={format} className="pick" href={question(path, { ...params, limit: undefined, before: undefined, skip: undefined, format })} download aria-label={`All ${what} as ${format.toUpperCase()}`}>
          {format.toUpperCase()}
        </a>
      ))}
    </span>
  )
}
