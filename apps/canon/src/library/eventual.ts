/**
 * Work inside a transaction, written once for databases that answer at once (SQLite) and for those that answer later. The answer
 * of the library tells which: a promise means that this transaction waits for everything in it; anything else, that everything
 * is done by the time it returns, and that a promise which an enqueue gives as well has nothing more to say.
 */

export type Eventual<T> = T | Promise<T>;

/** Goes on with an answer: now if it is there. */
export function andThen<A, B>(answer: Eventual<A>, next: (answer: A) => B): Eventual<B> {
  return answer instanceof Promise ? answer.then(next) : next(answer);
}

/** After the library's part, enqueues in the same transaction. Answers with the library's answer. */
export function andEnqueue<A>(answer: Eventual<A>, enqueue: (answer: A) => Promise<unknown>): Eventual<A> {
  if (answer instanceof Promise) return answer.then((given) => enqueue(given).then(() => given));
  void enqueue(answer);
  return answer;
}
