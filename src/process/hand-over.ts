import { ConfigError } from '../errors.ts'

/** What the system takes as one argument or variable of a process, and as all of them together. */
interface Capacity {
  oneBytes: number
  allBytes: number
}

/** The sum depends on the stack limit: this is its value with the default limit. */
const LINUX: Capacity = { oneBytes: 128 * 1024, allBytes: 2 * 1024 * 1024 }
const MACOS: Capacity = { oneBytes: 1024 * 1024, allBytes: 1024 * 1024 }
/** Of the command line. */
const WINDOWS: Capacity = { oneBytes: 32_767, allBytes: 32_767 }

const capacityOf = (platform: NodeJS.Platform): Capacity =>
  platform === 'win32' ? WINDOWS : platform === 'darwin' ? MACOS : LINUX

/** One argument or variable, and the option that it comes from. */
export interface HandedOver {
  option: string
  text: string
}

const RULES = 'put its rules under permissions in a settings file, and give the path of that as settings'
const ADVICE: Readonly<Record<string, string>> = {
  allowedTools: RULES,
  disallowedTools: RULES,
  env: 'write it to a file, and give the path of that',
  mcpServers: "use mcpServersDelivery: 'initialize'",
  plugins: "use pluginDelivery: 'initialize'",
  settings: 'write them to a file, and give the path of that',
}

/** With the zero at its end, as the kernel counts. */
const bytesOf = ({ text }: HandedOver): number => Buffer.byteLength(text) + 1

/** Throws ConfigError, with `path` before the option's name, for what a process could not be started with. */
export function checkHandOver(
  path: string,
  parts: readonly HandedOver[],
  platform: NodeJS.Platform = process.platform,
): void {
  const { oneBytes, allBytes } = capacityOf(platform)
  // On Windows, variables have no such limit.
  const counted = platform === 'win32' ? parts.filter(({ option }) => !option.startsWith('env.')) : parts
  let sum = 0
  let largest = { option: '', bytes: 0 }
  for (const part of counted) {
    const bytes = bytesOf(part)
    sum += bytes
    if (bytes > largest.bytes) largest = { option: part.option, bytes }
  }
  if (largest.bytes <= oneBytes && sum <= allBytes) return
  const limit =
    largest.bytes > oneBytes
      ? `one argument or variable may have ${oneBytes}`
      : `all arguments and variables may have ${allBytes} together, and have ${sum}`
  const advice = ADVICE[largest.option.split('.')[0] ?? ''] ?? 'shorten it'
  throw new ConfigError(
    path === '' ? largest.option : `${path}.${largest.option}`,
    `has ${largest.bytes} bytes, more than a process can be started with: ${limit}; ${advice}`,
  )
}
