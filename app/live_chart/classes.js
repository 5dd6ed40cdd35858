// Names, frequencies and counts of a run's classes. They do not change while a run trains: fetched
// once a page, when the trainer has named them.

import { get } from "./poll.js";

const known = new Map(); // run -> {count, rewinds, asking}

// The classes of the run that `following` follows, null until the trainer named them:
// {names, frequency, images, instances}, a list of C each.
export async function classesOf({ base, run }, following) {
  const count = following.poller.state?.classes ?? 0;
  if (!count) return null;
  const key = `${base} ${run}`;
  const found = known.get(key);
  if (found?.count === count) return found.asking;
  const asking = get(`${base}/live/runs/${run}/categories`).then((answer) => answer.json());
  known.set(key, { count, asking });
  asking.catch(() => known.delete(key)); // the poller says what is wrong; the next answer asks again
  return asking;
}
