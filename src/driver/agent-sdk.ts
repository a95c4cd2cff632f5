import { createRequire } from 'node:module'
import './home.ts'
import type * as Sdk from '@anthropic-ai/claude-agent-sdk'

let loaded: typeof Sdk | undefined

/** The Agent SDK. It is loaded at the first call, which takes some 0.1 s: a host is ready without it. */
export function agentSdk(): typeof Sdk {
  loaded ??= createRequire(import.meta.url)('@anthropic-ai/claude-agent-sdk') as typeof Sdk
  return loaded
}
