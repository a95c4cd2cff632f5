import { createHash } from 'node:crypto'

/** A tenant's folder: its name where every file system takes it as it is, else a readable part and a hash. */
export function folderOf(tenant: string): string {
  if (/^[a-z0-9][a-z0-9._-]{0,63}$/.test(tenant)) return tenant
  const readable = tenant
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 32)
  return `${readable}~${createHash('sha256').update(tenant).digest('hex').slice(0, 16)}`
}

/** The folder of a data directory that has the files which tenants have uploaded, each tenant's in a folder of its own. */
export const UPLOADS = 'files'
