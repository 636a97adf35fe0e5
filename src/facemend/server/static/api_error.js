// A request that failed; status as HTTP has it, 0: no answer at all.
export class ApiError extends Error {
  constructor(status, detail = "", retryAfter = null) {
    super(detail);
    this.status = status;
    this.detail = detail;
    this.retryAfter = retryAfter; // seconds
  }
}
