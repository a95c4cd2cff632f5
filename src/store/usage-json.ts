import type { UsageRecord } from './store.ts'

/** What a session has used, as databases and archives keep it: its names are those of the first release. */
export interface StoredUsage extends Omit<UsageRecord, 'reported' | 'estimated'> {
  told: UsageRecord['reported']
  reckoned?: UsageRecord['estimated']
}

export const storedUsage = ({ reported: told, estimated: reckoned, ...rest }: UsageRecord): StoredUsage => ({
  ...rest,
  told,
  ...(reckoned === undefined ? {} : { reckoned }),
})

export const usageOfStored = ({ told: reported, reckoned: estimated, ...rest }: StoredUsage): UsageRecord => ({
  ...rest,
  reported,
  ...(estimated === undefined ? {} : { estimated }),
})

/** The same as the text of a column. */
export const usageText = (usage: UsageRecord | undefined): string | null =>
  usage === undefined ? null : JSON.stringify(storedUsage(usage))

/** What such a column holds. */
export const usageOfText = (text: string | null): UsageRecord | undefined =>
  text === null ? undefined : usageOfStored(JSON.parse(text) as StoredUsage)
