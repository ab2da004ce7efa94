/**
 * The three statements that carry the load, as functions in the schema. A function keeps its plan on the server, for whoever calls
 * it on whichever connection, so that nothing needs to be prepared on a connection (which a pooler would take away), and nobody
 * plans a statement of thirty lines for every batch (measured: 2 ms each, four times the work itself). And it brings the planner's
 * settings along: these tables are empty at one moment and hold a million rows at the next, and a plan made for the one is a
 * catastrophe for the other. Only indexes, whatever the statistics say.
 *
 * Never change one that was released, as other versions may be running: add another under the next number, in a migration.
 */

const planned = `
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
  set enable_material = off set jit = off set plan_cache_mode = force_generic_plan`;

/** A null present is the server's: the statement's and not the transaction's, since an application's may be old when it enqueues. */
const present = `
    present bigint := coalesce(in_now, floor(extract(epoch from statement_timestamp()) * 1000)::bigint);`;

/** Where an operator has set what a type takes in, each job is asked for on the desk, which sends them with their states. */
const askFirst = `
    if in_states is null and exists (select 1 from sluice.settings where type = any (in_types) and has_intake) then
      out_now := present;
      out_added := 'ask';
      return;
    end if;`;

// Primary keys of history (the partitions that the ids name), jobs and correlations.
const addJobs = (version: 1 | 2) => `
  create function sluice.add_jobs_${version}(in_ids uuid[], in_types text[], in_versions int[], in_priorities int[], in_max_attempts int[],
    in_payloads text[], in_dues double precision[], in_are_delays boolean[], in_correlations text[], in_traces text[],
    in_blobs uuid[], in_unique_keys text[], in_unique_whiles text[], in_unique_periods double precision[], in_states text[],
    ${version === 1 ? "" : "in_ranks bigint[], in_controls text[], in_held_bys text[], "}in_now bigint, out out_now bigint, out out_added text)
  language plpgsql ${planned}
  as $$
  declare${present}
    present_us bigint := coalesce(in_now * 1000, floor(extract(epoch from statement_timestamp()) * 1000000)::bigint);
  begin${version === 1 ? "" : askFirst}
    with sent as (
      select sent.*,
        present as now,
        case
          when due is null then present
          when is_delay then ceil(present + due)
          else ceil(due)
        end as run_at
      from unnest(in_ids, in_types, in_versions, in_priorities, in_max_attempts, in_payloads, in_dues, in_are_delays,
        in_correlations, in_traces, in_blobs, in_unique_keys, in_unique_whiles, in_unique_periods, in_states${version === 1 ? "" : ", in_ranks, in_controls, in_held_bys"})
        as sent (id, type, version, priority, max_attempts, payload, due, is_delay,
          correlation, trace, blob, unique_key, unique_while, unique_period_ms, state${version === 1 ? "" : ", rank, controls, held_by"})
      where id not in (select history.id from sluice.history where history.id = any (in_ids))
    ),
    added as (
      insert into sluice.jobs as job (id, type, state, version, priority, rank, max_attempts, run_at, created_at,
        unique_key, unique_while, unique_period_ms, blob, correlation, trace, payload${version === 1 ? "" : ", controls, concurrency_key, held_by"})
      select id, type,
        coalesce(state, case when run_at > now then 'scheduled' else 'pending' end)::sluice.job_state,
        version, priority, ${version === 1 ? "present_us" : "coalesce(rank, present_us)"}, max_attempts, run_at, now,
        unique_key, unique_while, unique_period_ms, blob, correlation, trace, payload${version === 1 ? "" : ", controls, controls::json ->> 'concurrencyKey', held_by"}
      from sent
      on conflict (id) do nothing
      returning job.id, job.type, job.state, job.correlation
    ),
    correlated as (
      insert into sluice.correlations (name, value, id)
      select pair.key, pair.value, added.id
      from added
      cross join lateral json_each_text(added.correlation::json) as pair
      where added.correlation is not null
    ),
    counted as (
      insert into sluice.deltas (type, state, n)
      select type, state, count(*)
      from added
      group by type, state
    )
    select present,
      case
        when (select count(*) from added) = cardinality(in_ids) then null
        else (select coalesce(json_agg(id), '[]')::text from added)
      end
    into out_now, out_added;

    -- Sent again while it ended: the insert waited for the job to leave, and what it knew of history was older than that. Ids are
    -- made where they are sent from, so that those of this moment were never sent before.
    if exists (
      select 1
      from sluice.history
      where history.id = any (in_ids)
        and history.id < sluice.first_id(present - 100)
        and (out_added is null or position(history.id::text in out_added) > 0)
    ) then
      raise exception 'a job was sent again while it ended' using errcode = 'serialization_failure';
    end if;
  end $$;`;

/** How many of a wanted type may be processing. */
const limitOf = (version: 1 | 2) => {
  const set = "coalesce(settings.concurrency, wanted.concurrency)";
  return version === 1 ? set : `least(${set}, settings.breaker_level)`;
};

const notGated = `
        and not coalesce(settings.is_gated, false)`;
/** Their jobs must be asked for one by one (gated.ts), each type in its turn: so nothing is handed out before that is known. */
const findGated = `
      select array_agg(type order by type) into out_gated from sluice.settings where type = any (in_types) and is_gated;
      if out_gated is not null then total := 0; end if;`;

// jobs_ready, read in its order from each span's place on; then primary key. Workers and jobs_cancel by worker; jobs_due by type.
// Settings by type, and where one has a concurrency jobs_held by worker and type. Whoever claims of such a type does so alone until
// it commits; the statement after the lock sees what those before it have claimed. Types without settings pay for one look.
const claim = (version: 1 | 2) => `
  create function sluice.claim_${version}(in_worker text, in_types text[], in_limits int[], in_max_versions int[], in_concurrencies int[],
    in_span_types int[], in_span_urgencies int[], in_span_ranks bigint[], in_span_ends int[], in_total int, in_now bigint,
    out out_now bigint, out out_jobs text, out out_due text, out out_cancels text, out out_limited text[]${version === 1 ? "" : ", out out_gated text[]"})
  language plpgsql ${planned}
  as $$
  declare${present}
    limits int[] := in_limits;
    locked text;${version === 1 ? "" : "\n    total int := in_total;"}
  begin
    if in_concurrencies is not null or exists (select 1 from sluice.settings where type = any (in_types)) then
      select array_agg(wanted.type order by wanted.turn)
      into out_limited
      from unnest(in_types, in_concurrencies) with ordinality as wanted (type, concurrency, turn)
      left join sluice.settings on settings.type = wanted.type
      where ${limitOf(version)} is not null${version === 1 ? "" : notGated};
      if in_total > 0 then
        for locked in select type from unnest(out_limited) as limited (type) order by type loop
          perform pg_advisory_xact_lock(7562599, hashtext(locked || ' of :schema'));
        end loop;
      end if;

      select array_agg(
        case
          ${version === 1 ? "" : "when settings.is_gated then 0\n          "}when coalesce(settings.is_paused and (settings.paused_until is null or settings.paused_until > present), false) then 0
          when ${limitOf(version)} is null then wanted.jobs
          else least(wanted.jobs, greatest(0, ${limitOf(version)} - (
            select count(*)
            from sluice.workers
            join sluice.jobs as held on held.worker_id = workers.id and held.type = wanted.type and held.state = 'processing'
          )::int))
        end
        order by wanted.turn
      )
      into limits
      from unnest(in_types, in_limits, in_concurrencies) with ordinality as wanted (type, jobs, concurrency, turn)
      left join sluice.settings on settings.type = wanted.type;${version === 1 ? "" : findGated}
    end if;

    with picked as materialized (
      select candidate.id, wanted.turn
      from unnest(in_types, limits, in_max_versions) with ordinality as wanted (type, jobs, max_version, turn)
      cross join lateral (
        select job.id
        from unnest(in_span_types, in_span_urgencies, in_span_ranks, in_span_ends) as span (type, from_urgency, from_rank, to_urgency)
        cross join lateral (
          select ready.id
          from sluice.jobs as ready
          where ready.state = 'pending'
            and ready.type = wanted.type
            and (-ready.priority, ready.rank) >= (span.from_urgency, span.from_rank)
            and -ready.priority <= span.to_urgency
            and ready.version <= wanted.max_version
          order by -ready.priority, ready.rank, ready.id
          limit wanted.jobs
          for no key update skip locked
        ) as job
        where span.type = wanted.turn
        limit wanted.jobs
      ) as candidate
      where not exists (select 1 from sluice.workers where workers.id = in_worker and workers.is_lost)
      limit ${version === 1 ? "in_total" : "total"}
    ),
    started as (
      update sluice.jobs as job
      set state = 'processing', epoch = job.epoch + 1, attempt = job.attempt + 1, worker_id = in_worker, started_at = present
      from picked
      where job.id = picked.id
      returning job.*, picked.turn
    ),
    counted as (
      insert into sluice.deltas (type, state, n)
      select started.type, change.state::sluice.job_state, change.sign * count(*)
      from started
      cross join (values ('pending', -1), ('processing', 1)) as change (state, sign)
      group by started.type, change.state, change.sign
    )
    select present,
      (
        select json_agg(json_build_array(
          json_build_array(job.id, job.epoch, job.type, job.version, job.priority, job.created_at, job.run_at, job.started_at,
            job.attempt, job.max_attempts, job.crashes, job.correlation::json, job.trace::json, job.payload),
          job.rank,
          job.unique_key is not null${version === 1 ? "" : " or job.concurrency_key is not null"},
          case
            when job.unique_while = 'pending' and exists (select 1 from sluice.keys where key = '>' || job.unique_key)
            then job.unique_key
          end
        ) order by job.turn, -job.priority, job.rank, job.id)::text
        from started as job
      ) as jobs,
      (
        select json_object_agg(wanted.type, next.run_at)::text
        from unnest(in_types) as wanted (type)
        cross join lateral (
          select timed.run_at
          from sluice.jobs as timed
          where timed.type = wanted.type
            and timed.state in ('scheduled', 'retrying')
          order by timed.run_at
          limit 1
        ) as next
      ) as due,
      (
        select json_agg(json_build_object('id', asked.id, 'epoch', asked.epoch) order by asked.started_at, asked.id)::text
        from sluice.jobs as asked
        where asked.worker_id = in_worker
          and asked.state = 'processing'
          and asked.is_cancel_requested
      ) as cancels
    into out_now, out_jobs, out_due, out_cancels;
  end $$;`;

// Primary keys only: the state is compared as text so that no plan takes a partial index on it, and walks what a long
// transaction keeps from being cleaned there.
const complete = `
  create function sluice.complete_1(in_ids uuid[], in_epochs int[], in_outputs text[], in_now bigint, out out_done text)
  language plpgsql ${planned}
  as $$
  declare${present}
  begin
    with sent as (
      select * from unnest(in_ids, in_epochs, in_outputs) as sent (id, epoch, output)
    ),
    gone as (
      delete from sluice.jobs as job
      using sent
      where job.id = sent.id
        and job.epoch = sent.epoch
        and job.state::text = 'processing'
        and job.unique_key is null
      returning job.id, job.type, job.version, job.priority, job.epoch, job.attempt, job.max_attempts, job.crashes, job.run_at,
        job.created_at, job.started_at, job.worker_id, job.progress_done, job.progress_total, job.error, job.blob,
        job.correlation, job.trace, job.payload, sent.output as result
    ),
    kept as (
      insert into sluice.history (id, type, state, version, priority, epoch, attempt, max_attempts, crashes, run_at, created_at,
        started_at, finished_at, worker_id, progress_done, progress_total, error, blob, correlation, trace, output, payload)
      select id, type, 'completed', version, priority, epoch, attempt, max_attempts, crashes, run_at, created_at,
        started_at, present, worker_id, progress_done, progress_total, error, blob, correlation, trace, result, payload
      from gone
    ),
    counted as (
      insert into sluice.deltas (type, state, n)
      select gone.type, change.state::sluice.job_state, change.sign * count(*)
      from gone
      cross join (values ('processing', -1), ('completed', 1)) as change (state, sign)
      group by gone.type, change.state, change.sign
    )
    select case
      when (select count(*) from gone) = cardinality(in_ids) then null
      else (select coalesce(json_agg(id), '[]')::text from gone)
    end
    into out_done;
  end $$;`;

export const routines = [addJobs(1), claim(1), complete].join("\n");

/** What they became with flow control. */
export const flowRoutines = [addJobs(2), claim(2)].join("\n");
