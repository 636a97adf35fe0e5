// What went wrong, for people: `status` as HTTP has it (413: too large, 415: no picture), or "load", or "job".
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.name = "Problem";
    this.status = status;
  }
}
