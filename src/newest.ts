/** Holds a cache to its bound: what was put in first goes first. */
export function keepNewest<K>(cache: Map<K, unknown> | Set<K>, most: number): void {
  for (const first of cache.keys()) {
    if (cache.size <= most) return
    cache.delete(first)
  }
}
