/** `npm run architecture`: draws the rooms of src and their imports into docs/architecture.svg. */
import { writeFileSync } from 'node:fs'
import { draw } from './architecture/draw.ts'
import { filesOf, importsOf } from './architecture/imports.ts'
import { houseOf } from './architecture/rooms.ts'

const house = houseOf(filesOf('src'), importsOf('src'))
writeFileSync('docs/architecture.svg', await draw(house))

const count = (kind: string): number => house.rooms.filter((room) => room.kind === kind).length
const climbing = house.edges.filter(({ climbs }) => climbs)
console.log(
  `docs/architecture.svg: ${count('room')} rooms, ${count('port')} ports, ${house.edges.length} pairs that import, ${climbing.length} of them against the order`,
)
for (const { from, to } of climbing) console.log(`  ${from} → ${to}`)
