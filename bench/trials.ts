import type { Trial } from './trial.ts'
import { catchUps } from './trials/catch-up.ts'
import { causalBuffer } from './trials/causal-buffer.ts'
import { framing } from './trials/framing.ts'
import { gateway } from './trials/gateway.ts'
import { idleConnections } from './trials/idle-connections.ts'
import { meshSizes } from './trials/mesh-sizes.ts'
import { overwriting } from './trials/overwriting.ts'
import { start } from './trials/start.ts'

/** In the order in which they are told of. */
export const trials: readonly Trial[] = [
  ...meshSizes,
  idleConnections,
  causalBuffer,
  ...catchUps,
  start,
  overwriting,
  framing,
  gateway,
]
