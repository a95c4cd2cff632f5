import { readFileSync } from 'node:fs'
import { ConfigError } from '../errors.ts'
import { checkPeerSecret } from '../options/cluster.ts'
import type { Cluster } from '../options/cluster.ts'
import type { HostDirectory } from '../store/store.ts'
import { PeerPort } from './peer-port.ts'

/** The port for other hosts, and the secret that all of them have. */
export interface ClusterPort {
  readonly port: PeerPort
  readonly secret: string
}

/** Opens the port for the other hosts. Throws ConfigError, and StoreError if the store is to keep the secret. */
export async function openPeerPort(cluster: Cluster, directory: HostDirectory): Promise<ClusterPort> {
  const secret = secretOf(cluster) ?? (await directory.secret())
  return { port: await PeerPort.open(cluster), secret }
}

function secretOf({ secret, secretFile }: Cluster): string | undefined {
  if (secretFile === undefined) return secret
  let text
  try {
    text = readFileSync(secretFile, 'utf8')
  } catch (cause) {
    throw new ConfigError('cluster.secretFile', `${secretFile} cannot be read: ${(cause as Error).message}`, { cause })
  }
  return checkPeerSecret('cluster.secretFile', text.trim())
}
