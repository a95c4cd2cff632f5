import type {
  BetaManagedAgentsSessionEvent,
  BetaManagedAgentsSessionEventType,
} from '@anthropic-ai/sdk/resources/beta/sessions'
import { expectTypeOf, test } from 'vitest'
import type { SessionEvent } from '../../src/index.ts'
import type { EVENT_TYPES } from '../../src/server/managed-agents/sessions/event-types.ts'

/** What an event has that its type here leaves open, for content that the pool passes on. */
type Open = 'content' | 'usage' | 'agent' | 'budget'

type Closed<Event> = Event extends unknown ? Omit<Event, Open> : never

test('Every event is one of Anthropic’s Managed Agents API', () => {
  expectTypeOf<Closed<SessionEvent>>().toExtend<Closed<BetaManagedAgentsSessionEvent>>()
  expectTypeOf<SessionEvent['type']>().toExtend<BetaManagedAgentsSessionEvent['type']>()
})

test('The types that a list of events can be asked for are the API’s', () => {
  expectTypeOf<(typeof EVENT_TYPES)[number]>().toEqualTypeOf<BetaManagedAgentsSessionEventType>()
})
