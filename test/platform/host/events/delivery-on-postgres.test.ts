import t from 'tap'
import { deliverySuite } from './delivery-suite.ts'

t.setTimeout(110_000)
await deliverySuite(t, 'postgres')
