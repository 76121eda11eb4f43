/** What the forms call their fields, by the API's names. Fields of a rule stand below the list that the rule is in. */
export const LABELS = {
  retentionDays: 'Days that events are kept',
  allowedOrigins: 'Web origins that browsers may send from',
  'filters.legacyBrowsers': 'legacy browsers',
  'filters.localhost': 'localhost',
  'filters.webCrawlers': 'web crawlers',
  'filters.browserExtensions': 'browser extensions',
  'filters.errorMessages': 'Error messages',
  'filters.releases': 'Releases',
  'filters.clientIPs': 'Addresses and networks',
  'scrubbing.enabled': 'scrub at all',
  'scrubbing.defaults': 'passwords, keys, tokens and card numbers',
  'scrubbing.ipAddresses': 'IP addresses',
  'scrubbing.emails': 'e-mail addresses',
  'scrubbing.otlp': 'attributes of what comes by OTLP, too',
  'scrubbing.sensitiveFields': 'Further sensitive fields',
  'scrubbing.safeFields': 'Safe fields, whose values stay',
  'scrubbing.rules': 'scrubbing rule',
  'scrubbing.rules.id': 'Name',
  'scrubbing.rules.type': 'Looks for',
  'scrubbing.rules.match': 'What',
  'scrubbing.rules.method': 'Does',
  'scrubbing.rules.replacement': 'Text',
  'scrubbing.rules.paths': 'Where',
  sampling: 'sampling rule',
  'sampling.id': 'Name',
  'sampling.type': 'Of',
  'sampling.rate': 'Share kept',
  'sampling.releases': 'Releases',
  'sampling.environments': 'Environments',
  'sampling.transactions': 'Transactions',
  'sampling.levels': 'Levels',
  'sampling.platforms': 'Platforms',
  quotas: 'quota',
  'quotas.id': 'Name',
  'quotas.scope': 'For',
  'quotas.categories': 'Of',
  'quotas.limit': 'How many',
  'quotas.window': 'In seconds',
  'quotas.reasonCode': 'Reason told',
  groupingRules: 'Which frames count',
  fingerprintRules: 'Fingerprints',
} as const

export type Field = keyof typeof LABELS

/** What the form calls a field; the API's name where it has no such field. */
export function labelOf(path: string): string {
  const plain = path.replace(/\[\d+\]/g, '')
  return Object.hasOwn(LABELS, plain) ? LABELS[plain as Field] : path
}
