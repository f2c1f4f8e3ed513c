import t from 'tap'
import { deliverySuite } from './delivery-suite.ts'

t.setTimeout(580_000)
await deliverySuite(t, 'redis')
