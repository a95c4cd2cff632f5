/** The names of a table's columns. `number`: they are set to the right. `unseen`: only a screen reader says the name. */
export function Columns({ of }: { of: readonly (readonly [name: string, kind?: 'number' | 'unseen'])[] }) {
  return (
    <thead>
      <tr>
        {of.map(([name, kind]) => (
          <th key={name} scope="col" class={kind === 'number' ? 'number' : undefined}>
            {kind === 'unseen' ? <span class="unseen">{name}</span> : name}
          </th>
        ))}
      </tr>
    </thead>
  )
}
