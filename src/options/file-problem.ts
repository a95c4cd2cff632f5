/** What the system's codes mean for a file that is needed. */
const PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'it does not exist',
  ENOTDIR: 'a part of its path is a file, not a directory',
  EISDIR: 'it is a directory',
  EACCES: 'this user has no permission',
  EPERM: 'this user has no permission',
  ELOOP: 'its links lead in a circle',
  ENAMETOOLONG: 'its name is too long',
  EMFILE: 'this process has too many files open',
  ENFILE: 'this machine has too many files open',
  EROFS: 'its file system is read-only',
  ENOSPC: 'the disk is full',
  EIO: 'the disk reports an error',
}

/** Why a file could not be used, as the end of a sentence: the system's own words name calls and codes. */
export function fileProblem(error: unknown): string {
  const { code = '', message } = error as NodeJS.ErrnoException
  return PROBLEMS[code] ?? message
}
