import type { components, paths } from './schema'

/** The answer of one route of the API. */
export type Answer<P extends keyof paths> = paths[P] extends { get: { responses: { 200: { content: { 'application/json': infer T } } } } } ? T : never

export type Params = Record<string, string | number | boolean | undefined>

/** What the API says when it does not answer; code "network" when nobody answered at all. */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly hint: string,
    /** The question that failed, as it was asked. */
    readonly question: string,
    readonly status: number,
    /** The parameter, or the field of the body, that is at fault. */
    readonly param?: string,
    /** When to ask again, in seconds. */
    readonly retryAfter?: number,
    /** The least role that is not refused, of no_permission. */
    readonly needs?: string,
    /** All that is wrong with the settings that were sent. */
    readonly faults: readonly components['schemas']['Fault'][] = [],
  ) {
    super(message)
  }
}

/** The path with its parameters; empty and false ones are left out. */
export function question(path: string, params: Params = {}): string {
  const q = new URLSearchParams()
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== '' && value !== false) q.set(name, String(value))
  }
  const s = q.toString()
  return '/api/v1' + path + (s ? '?' + s : '')
}

export async function ask<P extends keyof paths>(path: string, params: Params, signal?: AbortSignal): Promise<Answer<P>> {
  const url = question(path, params)
  let response: Response
  try {
    response = await fetch(url, { signal: signal ?? null, headers: { Accept: JSON_KINDS } })
  } catch (e) {
    if (signal?.aborted) throw e
    throw new ApiError('network', 'the server does not answer', 'is hoptrace running? the question is asked again on retry', url, 0)
  }
  if (response.ok) return (await response.json()) as Answer<P>
  throw await refusal(response, url)
}

type Method = 'put' | 'post'

/** What one action takes. */
export type ActionBody<P extends keyof paths, M extends Method> = paths[P] extends { [K in M]: { requestBody?: infer B } } ? (NonNullable<B> extends { content: { 'application/json': infer T } } ? T : never) : never

/** What one action answers. */
export type ActionAnswer<P extends keyof paths, M extends Method> = paths[P] extends { [K in M]: { responses: { 200: { content: { 'application/json': infer T } } } } } ? T : never

/** Does one action. */
export async function act<P extends keyof paths, M extends Method>(method: M, path: string, params: Params, body: ActionBody<P, M>): Promise<ActionAnswer<P, M>> {
  const url = question(path, params)
  let response: Response
  try {
    response = await fetch(url, { method: method.toUpperCase(), headers: { Accept: JSON_KINDS, 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
  } catch {
    throw new ApiError('network', 'the server does not answer', 'is hoptrace running? nothing may have changed; doing it again is safe', url, 0)
  }
  if (response.ok) return (await response.json()) as ActionAnswer<P, M>
  throw await refusal(response, url)
}

/** Saves a query under a name. */
export function saveQuery(project: string | undefined, body: ActionBody<'/api/v1/queries', 'post'>) {
  return act<'/api/v1/queries', 'post'>('post', '/queries', { project }, body)
}

/** Forgets a saved query. */
export function dropQuery(project: string | undefined, id: string): Promise<void> {
  return remove('/queries/' + encodeURIComponent(id), { project })
}

/** Removes what a path names. */
export async function remove(path: string, params: Params = {}): Promise<void> {
  const url = question(path, params)
  let response: Response
  try {
    response = await fetch(url, { method: 'DELETE', headers: { Accept: JSON_KINDS } })
  } catch {
    throw new ApiError('network', 'the server does not answer', 'is hoptrace running? nothing may have changed; doing it again is safe', url, 0)
  }
  if (!response.ok) throw await refusal(response, url)
}

const JSON_KINDS = 'application/json, application/problem+json'

/** What the server said instead of an answer: a problem (RFC 9457), or what something in between said. */
export async function refusal(response: Response, url: string): Promise<ApiError> {
  try {
    const p = (await response.json()) as Partial<components['schemas']['Problem']>
    if (p.code) return new ApiError(p.code, p.detail ?? p.title ?? '', p.wayOut ?? '', url, response.status, p.param, p.retryAfter, p.needs, p.faults)
  } catch {
    // not ours: a proxy in between
  }
  return new ApiError('http_' + response.status, `the answer was HTTP ${response.status} and not hoptrace's`, 'something between the browser and hoptrace answered', url, response.status)
}
