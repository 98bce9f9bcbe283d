/**
 * Why a connection failed or broke, in words for people: what Node's error codes mean. An error without a known code
 * speaks for itself.
 */
export function connectionFault(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'ECONNREFUSED':
      return 'connection refused'
    case 'ECONNRESET':
      return 'connection reset'
    case 'ETIMEDOUT':
      return 'no answer'
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'no such host'
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return 'no way there'
    default:
      return error.message
  }
}
