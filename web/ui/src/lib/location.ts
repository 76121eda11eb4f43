import { useBrowserLocation, useSearch } from 'wouter/use-browser-location'

/**
 * What the router is given to decode, so that it comes out as the browser has it. The
 * router decodes path and search before anybody reads them, which makes another name of
 * one that holds a per cent sign, as temperature%2F does.
 */
export function kept(text: string): string {
  return text.replaceAll('%', '%25')
}

/** The path as the browser has it: read a part of it by decoded. */
export function useWholeLocation(): [string, ReturnType<typeof useBrowserLocation>[1]] {
  const [path, go] = useBrowserLocation()
  return [kept(path), go]
}

/** The search part as the browser has it: read it by URLSearchParams. */
export function useWholeSearch(): string {
  return kept(useSearch())
}

/** A part of a path, as it was before encodeURIComponent. */
export function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part // a person wrote it by hand
  }
}
