const WORDS: Record<string, string> = {
  'project.create': 'made a project',
  'project.change': 'changed a project',
  'key.create': 'made a key',
  'key.change': 'changed a key',
  'key.delete': 'deleted a key',
  'key.rotate': 'rotated a key',
  'member.create': 'invited a member',
  'member.change': 'changed a member',
  'member.role': 'got another role from the identity provider',
  'member.remove': 'removed a member',
  'member.link': 'made a link for a member',
  'member.password': 'set a password',
  'token.create': 'made a token',
  'token.revoke': 'revoked a token',
  'dead-letter.retry': 'retried dead letters',
  'dead-letter.discard': 'discarded dead letters',
}

/** What an action of the audit is called; what is not known stays as it is. */
export function actionText(action: string): string {
  return Object.hasOwn(WORDS, action) ? WORDS[action]! : action
}
