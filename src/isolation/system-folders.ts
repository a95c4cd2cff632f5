import { existsSync, lstatSync, readlinkSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Programs and libraries. Where a distribution has merged them, all but /usr are links into it. */
const PROGRAMS = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/nix/store']

/** Settings that programs need and that hold no secret. */
const SETTINGS = [
  'alternatives',
  'bash.bashrc',
  'ca-certificates',
  'ca-certificates.conf',
  'crypto-policies',
  'debian_version',
  'fonts',
  'group',
  'hosts',
  'ld.so.cache',
  'ld.so.conf',
  'ld.so.conf.d',
  'localtime',
  'mime.types',
  'nsswitch.conf',
  'os-release',
  'passwd',
  'pki/ca-trust',
  'pki/tls/certs',
  'profile',
  'protocols',
  'resolv.conf',
  'services',
  'shells',
  'ssl/cert.pem',
  'ssl/certs',
  'ssl/openssl.cnf',
  'timezone',
].map((name) => join('/etc', name))

/** A path inside, and what is shown there. */
export interface Shown {
  at: string
  from: string
  isLink: boolean
}

/** What every sandbox shows of the system, to be read only. */
export function systemFolders(): Shown[] {
  return [...PROGRAMS, ...SETTINGS].flatMap((at): Shown[] => {
    if (!existsSync(at)) return []
    const isLink = lstatSync(at).isSymbolicLink()
    // A link into a folder that is shown stays a link. /etc/resolv.conf leads into /run: its file is shown in its place.
    if (isLink && PROGRAMS.includes(at)) return [{ at, from: readlinkSync(at), isLink }]
    return [{ at, from: realpathSync(at), isLink: false }]
  })
}

/** The folder of this Node with its own modules, or the program alone if that lies among other things. */
export function nodeFolder(execPath: string): string {
  const program = realpathSync(execPath)
  const folder = dirname(dirname(program))
  return existsSync(join(folder, 'lib', 'node_modules')) ? folder : program
}
