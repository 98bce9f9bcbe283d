import type { Trial } from './trial.ts'
import { causalBuffer } from './trials/causal-buffer.ts'

/** In the order in which they are told of. */
export const trials: readonly Trial[] = [causalBuffer]
