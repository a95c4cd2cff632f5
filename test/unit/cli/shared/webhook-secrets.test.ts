import { expect, test } from 'vitest'
import { withWebhookSecrets } from '../../../../src/cli/shared/webhook-secrets.ts'

const url = 'https://hooks.example/'
const options = {
  webhooks: { audit: { url, secretFile: 'secrets/audit' } },
  tenants: { 'a/b': { define: true, webhooks: { bot: { url, secretFile: '/run/bot' } } }, other: { define: false } },
}

test('files of secrets are beside the config, and secrets of the environment take their place', () => {
  expect(withWebhookSecrets(options, { file: '/etc/pool/pool.yaml', text: '' })).toEqual({
    ...options,
    webhooks: { audit: { url, secretFile: '/etc/pool/secrets/audit' } },
  })
  const text = 'audit=whsec_AA==, a/b/bot=whsec_BB=='
  expect(withWebhookSecrets(options, { file: 'pool.yaml', text })).toEqual({
    webhooks: { audit: { url, secret: 'whsec_AA==' } },
    tenants: { 'a/b': { define: true, webhooks: { bot: { url, secret: 'whsec_BB==' } } }, other: { define: false } },
  })
})

test('a secret for no endpoint, and what is no list of secrets, is refused without showing it', () => {
  const problem = (text: string): string => {
    try {
      withWebhookSecrets(options, { file: undefined, text })
      return 'none'
    } catch (error) {
      return (error as Error).message
    }
  }
  expect(problem('bot=whsec_hidden')).toBe(
    'CLAUDE_AGENT_POOL_WEBHOOK_SECRETS: "bot" is no webhook of the config; write name=secret or tenant/name=secret',
  )
  expect(problem('whsec_hidden')).toBe('CLAUDE_AGENT_POOL_WEBHOOK_SECRETS: entry 1 is not of the form name=secret')
})
