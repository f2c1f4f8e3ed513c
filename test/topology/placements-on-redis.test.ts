import { testPlacements } from './placements.ts'

await testPlacements('redis')
