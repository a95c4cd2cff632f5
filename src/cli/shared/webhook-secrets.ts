import { dirname, resolve } from 'node:path'
import { ConfigError } from '../../errors.ts'
import type { ManagedAgentsOptions, WebhooksOption } from '../../server/index.ts'

/** Secrets of webhooks: `name=whsec_…,tenant/name=whsec_…`. */
export const WEBHOOK_SECRETS = 'CLAUDE_AGENT_POOL_WEBHOOK_SECRETS'

interface From {
  /** The config's file; relative files of secrets are beside it. */
  file: string | undefined
  /** What the variable says. */
  text: string
}

/** The same options, with the secrets of the environment, and with files as they are found from anywhere. Throws ConfigError. */
export function withWebhookSecrets(
  { webhooks, tenants, ...rest }: ManagedAgentsOptions,
  { file, text }: From,
): ManagedAgentsOptions {
  const folder = dirname(resolve(file ?? '.'))
  const secrets = readSecrets(text)
  const completed = (all: WebhooksOption | undefined, prefix: string): { webhooks?: WebhooksOption } =>
    all === undefined
      ? {}
      : {
          webhooks: Object.fromEntries(
            Object.entries(all).map(([name, { secret, secretFile, ...endpoint }]) => {
              const given = take(secrets, `${prefix}${name}`)
              if (given !== undefined) return [name, { ...endpoint, secret: given }]
              return [
                name,
                {
                  ...endpoint,
                  ...(secret === undefined ? {} : { secret }),
                  ...(secretFile === undefined ? {} : { secretFile: resolve(folder, secretFile) }),
                },
              ]
            }),
          ),
        }
  const options: ManagedAgentsOptions = {
    ...rest,
    ...completed(webhooks, ''),
    ...(tenants === undefined
      ? {}
      : {
          tenants: Object.fromEntries(
            Object.entries(tenants).map(([tenant, own]) => [
              tenant,
              { ...own, ...completed(own.webhooks, `${tenant}/`) },
            ]),
          ),
        }),
  }
  const [unknown] = secrets.keys()
  if (unknown !== undefined)
    throw new ConfigError(
      WEBHOOK_SECRETS,
      `"${unknown}" is no webhook of the config; write name=secret or tenant/name=secret`,
    )
  return options
}

function readSecrets(text: string): Map<string, string> {
  const secrets = new Map<string, string>()
  for (const [index, entry] of text.split(',').entries()) {
    if (entry.trim() === '') continue
    const at = entry.indexOf('=')
    if (at < 1) throw new ConfigError(WEBHOOK_SECRETS, `entry ${index + 1} is not of the form name=secret`)
    secrets.set(entry.slice(0, at).trim(), entry.slice(at + 1).trim())
  }
  return secrets
}

function take(secrets: Map<string, string>, name: string): string | undefined {
  const secret = secrets.get(name)
  secrets.delete(name)
  return secret
}
