import { homedir } from 'node:os'

/** Container runtimes use this home for unknown users. */
const NO_HOME = '/'

// agent-sdk.ts imports this before the Agent SDK. The SDK asks for a home while it loads, and throws if there is none: without
// HOME, for a user id that is in no passwd file.
try {
  homedir()
} catch {
  process.env['HOME'] = NO_HOME
}
