-- -- cron ---------------------------------------------------------------------------------------------
--
-- The expressions are those of cronie (crontab(5)), and so is what happens when the clocks change:
--  * an expression whose minute or hour begins with "*" follows the clock as it is: a time that is skipped does not
--    happen, one that comes twice happens twice;
--  * any other is a time of the day: one that is skipped happens at the moment of the change, one that comes
--    twice happens the first time only.
-- Day of month and day of week: when neither begins with "*", one of them is enough; otherwise both must fit.

CREATE FUNCTION mbackup.cron_field(expression text, what text, field text, low integer, high integer, names text[])
RETURNS integer[] LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	item text;
	part text[];
	bound text;
	bounds integer[];
	found integer[] := '{}';
	step integer;
BEGIN
	FOREACH item IN ARRAY string_to_array(field, ',') LOOP
		part := regexp_match(item, '^(\*|[0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?(?:/([0-9]{1,4}))?$');
		IF part IS NULL OR (part[1] = '*' AND part[2] IS NOT NULL) OR (part[3] IS NOT NULL AND part[1] <> '*' AND part[2] IS NULL) THEN
			RAISE EXCEPTION 'could not read cron expression "%": "%" is no %', expression, item, what
				USING ERRCODE = 'invalid_parameter_value', HINT = format('Write *, a number from %s to %s, a range as 1-5, a list as 1,3, or a step as */2 or 1-5/2.', low, high);
		END IF;
		bounds := '{}';
		IF part[1] = '*' THEN
			bounds := ARRAY[low, CASE WHEN what = 'day of week' THEN 6 ELSE high END];
		ELSE
			FOREACH bound IN ARRAY ARRAY[part[1], coalesce(part[2], part[1])] LOOP
				bounds := bounds || CASE WHEN bound ~ '^[0-9]' THEN bound::integer
					ELSE array_position(names, bound) - 1 + CASE WHEN what = 'month' THEN 1 ELSE 0 END END;
			END LOOP;
		END IF;
		step := coalesce(part[3]::integer, 1);
		IF bounds[1] IS NULL OR bounds[2] IS NULL OR bounds[1] < low OR bounds[2] > high OR bounds[1] > bounds[2] OR step < 1 THEN
			RAISE EXCEPTION 'could not read cron expression "%": "%" is no %', expression, item, what
				USING ERRCODE = 'invalid_parameter_value', HINT = CASE
					WHEN bounds[1] IS NULL OR bounds[2] IS NULL THEN format('Write a number from %s to %s%s.', low, high, CASE WHEN names = '{}' THEN '' ELSE ' or one of ' || array_to_string(names, ' ') END)
					WHEN step < 1 THEN 'Write a step of 1 or more.'
					WHEN bounds[1] > bounds[2] AND bounds[1] <= high THEN 'A range goes upwards; write the two parts of one that wraps around as a list.'
					ELSE format('Numbers from %s to %s are possible.', low, high) END;
		END IF;
		found := found || ARRAY(SELECT generate_series(bounds[1], bounds[2], step));
	END LOOP;
	RETURN ARRAY(SELECT DISTINCT CASE WHEN what = 'day of week' THEN n % 7 ELSE n END AS n FROM unnest(found) AS n ORDER BY 1);
END
$$;
COMMENT ON FUNCTION mbackup.cron_field(text, text, text, integer, integer, text[]) IS 'The numbers that one field of a cron expression means';

CREATE FUNCTION mbackup.cron_next(cron text, time_zone text, after timestamptz)
RETURNS timestamptz LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	days_names CONSTANT text[] := ARRAY['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
	month_names CONSTANT text[] := ARRAY['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
	field text[];
	minutes integer[];
	hours integer[];
	days integer[];
	months integer[];
	weekdays integer[];
	is_wild boolean;
	is_both boolean;
	here timestamp;
	day date;
	found timestamptz;
BEGIN
	IF octet_length(cron) > 256 THEN
		RAISE EXCEPTION 'could not read a cron expression of % bytes: it may have 256', octet_length(cron) USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF NOT isfinite(after) OR after < '1900-01-01 00:00:00Z'::timestamptz OR after > '9900-01-01 00:00:00Z'::timestamptz THEN
		RETURN NULL;
	END IF;
	field := string_to_array(lower(btrim(regexp_replace(cron, '[ \t]+', ' ', 'g'))), ' ');
	IF array_length(field, 1) = 1 AND field[1] LIKE '@%' THEN
		field := CASE field[1]
			WHEN '@hourly' THEN ARRAY['0', '*', '*', '*', '*']
			WHEN '@daily' THEN ARRAY['0', '0', '*', '*', '*']
			WHEN '@midnight' THEN ARRAY['0', '0', '*', '*', '*']
			WHEN '@weekly' THEN ARRAY['0', '0', '*', '*', '0']
			WHEN '@monthly' THEN ARRAY['0', '0', '1', '*', '*']
			WHEN '@yearly' THEN ARRAY['0', '0', '1', '1', '*']
			WHEN '@annually' THEN ARRAY['0', '0', '1', '1', '*'] END;
	END IF;
	IF field IS NULL OR array_length(field, 1) IS DISTINCT FROM 5 THEN
		RAISE EXCEPTION 'could not read cron expression "%": it has not the five fields minute, hour, day of month, month, day of week', cron
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Write for example "0 2 * * *" (every night at two), or @hourly, @daily, @weekly, @monthly, @yearly.';
	END IF;
	minutes := mbackup.cron_field(cron, 'minute', field[1], 0, 59, '{}');
	hours := mbackup.cron_field(cron, 'hour', field[2], 0, 23, '{}');
	days := mbackup.cron_field(cron, 'day of month', field[3], 1, 31, '{}');
	months := mbackup.cron_field(cron, 'month', field[4], 1, 12, month_names);
	weekdays := mbackup.cron_field(cron, 'day of week', field[5], 0, 7, days_names);
	is_wild := field[1] LIKE '*%' OR field[2] LIKE '*%';
	is_both := field[3] LIKE '*%' OR field[5] LIKE '*%';
	here := after AT TIME ZONE time_zone;

	-- Day by day, from yesterday because a clock may be put back over midnight, to 8 years and a bit: 29 February
	-- comes after 8 years when a century is no leap year.  On a day the times from three hours ago are enough.
	FOR day IN SELECT d.day FROM (SELECT here::date - 1 + n AS day FROM generate_series(0, 2930) AS n) AS d
		WHERE extract(month FROM d.day)::integer = ANY (months)
			AND CASE WHEN is_both THEN extract(day FROM d.day)::integer = ANY (days) AND extract(dow FROM d.day)::integer = ANY (weekdays)
				ELSE extract(day FROM d.day)::integer = ANY (days) OR extract(dow FROM d.day)::integer = ANY (weekdays) END
		ORDER BY d.day
	LOOP
		SELECT min(i.instant) INTO found
		FROM (SELECT day + make_interval(hours => h, mins => m) AS clock FROM unnest(hours) AS h, unnest(minutes) AS m
			  WHERE day + make_interval(hours => h, mins => m) >= here - '3 hours'::interval ORDER BY 1 LIMIT 400) AS c,
			LATERAL mbackup.cron_instants(c.clock, time_zone, is_wild) AS i (instant)
		WHERE i.instant > after;
		IF found IS NOT NULL THEN
			RETURN found;
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;

-- When a clock of the zone shows this time: never, once or twice.
CREATE FUNCTION mbackup.cron_instants(clock timestamp, time_zone text, is_wild boolean)
RETURNS SETOF timestamptz LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	late CONSTANT timestamptz := clock AT TIME ZONE time_zone; -- of two the second; of none, as if the clock had not changed
	early timestamptz;
	changed timestamptz;
BEGIN
	-- As if the offset of three hours ago still held.
	early := (clock - (((late - '3 hours'::interval) AT TIME ZONE time_zone) - ((late - '3 hours'::interval) AT TIME ZONE 'UTC'))) AT TIME ZONE 'UTC';
	IF late AT TIME ZONE time_zone <> clock THEN
		IF is_wild THEN
			RETURN;
		END IF;
		-- The first minute with the new offset: at most as long ago as the clocks were put forward.
		SELECT min(t) INTO changed
		FROM generate_series(late - ((late AT TIME ZONE time_zone) - clock), late, '1 minute'::interval) AS t
		WHERE (t AT TIME ZONE time_zone) - (t AT TIME ZONE 'UTC') = (late AT TIME ZONE time_zone) - (late AT TIME ZONE 'UTC');
		RETURN NEXT changed;
	ELSIF early < late AND early AT TIME ZONE time_zone = clock THEN
		RETURN NEXT early;
		IF is_wild THEN
			RETURN NEXT late;
		END IF;
	ELSE
		RETURN NEXT late;
	END IF;
END
$$;
COMMENT ON FUNCTION mbackup.cron_instants(timestamp, text, boolean) IS 'The instants at which the clocks of a zone show a time: none, one or two';
COMMENT ON FUNCTION mbackup.cron_next(text, text, timestamptz) IS 'The next time of a cron expression after a time; NULL when there is none within 8 years';
