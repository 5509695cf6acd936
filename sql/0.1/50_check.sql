-- -- what an argument may be ---------------------------------------------------------------------------
--
-- What people give ends up in the arguments of a command that a daemon with every right runs.  So words only: names
-- that begin with a letter, labels and marks that are texts of one line.  Never a path, an endpoint, an option, a secret.

CREATE FUNCTION mbackup.check_name(what text, value text) RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF value IS NULL THEN
		RAISE EXCEPTION 'the % is NULL', what USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a name.';
	END IF;
	IF value !~ '^[a-z][a-z0-9_-]{0,62}$' THEN
		RAISE EXCEPTION '"%" cannot be a %', left(value, 80), what
			USING ERRCODE = 'invalid_parameter_value', HINT = 'A name begins with a letter and has letters, digits, "_" and "-", all in lower case, at most 63.';
	END IF;
	RETURN value;
END
$$;
COMMENT ON FUNCTION mbackup.check_name(text, text) IS 'The name, or an error';

CREATE FUNCTION mbackup.check_text(what text, value text, max_bytes integer) RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF value IS NULL THEN
		RAISE EXCEPTION 'the % is NULL', what USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a text.';
	END IF;
	IF octet_length(value) > max_bytes OR value COLLATE "C" ~ '[[:cntrl:]]' THEN
		RAISE EXCEPTION '"%" cannot be a %', left(regexp_replace(value COLLATE "C", '[[:cntrl:]]', '?', 'g'), 80), what
			USING ERRCODE = 'invalid_parameter_value', HINT = format('It may have %s bytes, and no line breaks or other control characters.', max_bytes);
	END IF;
	RETURN value;
END
$$;
COMMENT ON FUNCTION mbackup.check_text(text, text, integer) IS 'The text of one line, or an error';

CREATE FUNCTION mbackup.check_mark_name(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM mbackup.check_text('name of a mark', value, 200);
	IF value = '' OR value <> btrim(value) OR left(value, 1) = '-' THEN
		RAISE EXCEPTION '"%" cannot be the name of a mark', value
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It has 1 to 200 bytes, does not begin with "-", and has no blanks at its ends.';
	END IF;
	RETURN value;
END
$$;
COMMENT ON FUNCTION mbackup.check_mark_name(text) IS 'The name of a mark, or an error';

CREATE FUNCTION mbackup.check_word(what text, value text, words text[]) RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF value IS NULL OR NOT value = ANY (words) THEN
		RAISE EXCEPTION '% cannot be a %', coalesce('"' || left(value, 80) || '"', 'NULL'), what
			USING ERRCODE = 'invalid_parameter_value', HINT = format('Choose one of %s.', array_to_string(words, ', '));
	END IF;
	RETURN value;
END
$$;
COMMENT ON FUNCTION mbackup.check_word(text, text, text[]) IS 'One of some words, or an error';

CREATE FUNCTION mbackup.check_components(value text[]) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	component text;
BEGIN
	IF array_ndims(value) IS DISTINCT FROM 1 OR cardinality(value) > 64 THEN
		RAISE EXCEPTION 'these are no components' USING ERRCODE = 'invalid_parameter_value', HINT = 'Give an array of 1 to 64 names, or NULL for every component.';
	END IF;
	FOREACH component IN ARRAY value LOOP
		PERFORM mbackup.check_name('component', component);
	END LOOP;
	RETURN to_jsonb(ARRAY(SELECT DISTINCT unnest(value) ORDER BY 1));
END
$$;
COMMENT ON FUNCTION mbackup.check_components(text[]) IS 'Names of components as JSON, or an error';

CREATE FUNCTION mbackup.check_labels(value jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	label record;
BEGIN
	IF value IS NULL OR jsonb_typeof(value) <> 'object' OR (SELECT count(*) FROM jsonb_object_keys(value)) > 16 THEN
		RAISE EXCEPTION 'these are no labels' USING ERRCODE = 'invalid_parameter_value', HINT = 'Give an object of at most 16 texts, such as {"release": "1.7"}.';
	END IF;
	FOR label IN SELECT e.key, e.value FROM jsonb_each(value) AS e LOOP
		PERFORM mbackup.check_name('label', label.key);
		IF label.key = 'job' THEN
			RAISE EXCEPTION 'the label "job" is the daemon''s' USING ERRCODE = 'reserved_name', HINT = 'Choose another name.';
		END IF;
		IF jsonb_typeof(label.value) <> 'string' THEN
			RAISE EXCEPTION 'label "%" is no text', label.key USING ERRCODE = 'invalid_parameter_value', HINT = 'Write its value in double quotes.';
		END IF;
		PERFORM mbackup.check_text(format('label "%s"', label.key), label.value #>> '{}', 200);
		IF starts_with(label.value #>> '{}', '-') THEN
			RAISE EXCEPTION '"%" cannot be a label "%"', label.value #>> '{}', label.key USING ERRCODE = 'invalid_parameter_value', HINT = 'It may not begin with "-".';
		END IF;
	END LOOP;
	RETURN value;
END
$$;
COMMENT ON FUNCTION mbackup.check_labels(jsonb) IS 'Labels, or an error';

-- The arguments of a policy: nothing is passed on that is not known here.
CREATE FUNCTION mbackup.check_arguments(kind text, value jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	known CONSTANT text[] := CASE kind WHEN 'backup' THEN ARRAY['type', 'components', 'labels', 'pause'] WHEN 'verify' THEN ARRAY['read-data', 'older-than', 'budget', 'restore']
		WHEN 'expire' THEN ARRAY['dry-run'] WHEN 'mark' THEN ARRAY['name', 'pause'] END;
	argument record;
BEGIN
	IF value IS NULL OR jsonb_typeof(value) <> 'object' THEN
		RAISE EXCEPTION 'the arguments of a policy are an object' USING ERRCODE = 'invalid_parameter_value', HINT = 'Write for example {"type": "full"}, or {} for none.';
	END IF;
	FOR argument IN SELECT e.key, e.value FROM jsonb_each(value) AS e LOOP
		IF NOT argument.key = ANY (known) THEN
			RAISE EXCEPTION 'a policy of kind % has no argument "%"', kind, left(argument.key, 80)
				USING ERRCODE = 'invalid_parameter_value', HINT = format('It may have %s.', array_to_string(known, ', '));
		END IF;
		CASE argument.key
			WHEN 'components' THEN
				IF jsonb_typeof(argument.value) <> 'array' THEN
					RAISE EXCEPTION 'these are no components' USING ERRCODE = 'invalid_parameter_value', HINT = 'Give an array of names.';
				END IF;
				PERFORM mbackup.check_components(ARRAY(SELECT jsonb_array_elements_text(argument.value)));
			WHEN 'labels' THEN
				PERFORM mbackup.check_labels(argument.value);
			WHEN 'pause', 'dry-run', 'restore' THEN
				IF jsonb_typeof(argument.value) <> 'boolean' THEN
					RAISE EXCEPTION 'argument "%" is true or false', argument.key USING ERRCODE = 'invalid_parameter_value', HINT = 'Write it without quotes.';
				END IF;
			WHEN 'type' THEN
				PERFORM mbackup.check_word('type of backup', argument.value #>> '{}', ARRAY['auto', 'full', 'incremental']);
			WHEN 'read-data' THEN
				PERFORM mbackup.check_word('way to read', argument.value #>> '{}', ARRAY['none', 'changed', 'full']);
			WHEN 'older-than', 'budget' THEN
				IF argument.value #>> '{}' IS NULL OR argument.value #>> '{}' !~ '^[0-9]{1,9}[A-Za-z]{1,3}$' THEN
					RAISE EXCEPTION 'argument "%" is a time, or a budget in bytes', argument.key
						USING ERRCODE = 'invalid_parameter_value', HINT = 'Write for example "7d", "30min" or "200GiB".';
				END IF;
			WHEN 'name' THEN
				-- A prefix: the time is added to it.
				PERFORM mbackup.check_mark_name(argument.value #>> '{}');
				PERFORM mbackup.check_text('beginning of the names of marks', argument.value #>> '{}', 180);
		END CASE;
	END LOOP;
	RETURN value;
END
$$;
COMMENT ON FUNCTION mbackup.check_arguments(text, jsonb) IS 'The arguments of a policy, or an error';

-- A backup as people name it: an id, a prefix of exactly one, or latest.
CREATE FUNCTION mbackup.find_backup(value text) RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	ids text[];
BEGIN
	IF value IS NULL OR value !~ '^[0-9A-Za-z-]{1,64}$' OR left(value, 1) = '-' THEN
		RAISE EXCEPTION '% is no backup', coalesce('"' || left(value, 80) || '"', 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Give an id of mbackup.backups, a prefix of exactly one, or latest.';
	END IF;
	IF value = 'latest' THEN
		ids := ARRAY(SELECT b.id FROM mbackup.backup_table AS b ORDER BY b.started DESC, b.id DESC LIMIT 1);
	ELSE
		ids := ARRAY(SELECT b.id FROM mbackup.backup_table AS b WHERE starts_with(b.id, value) ORDER BY b.id = value DESC, b.id LIMIT 2);
	END IF;
	IF cardinality(ids) = 0 THEN
		RAISE EXCEPTION 'there is no backup "%"', value USING ERRCODE = 'undefined_object', HINT = 'See mbackup.backups; the daemon brings it up to date.';
	END IF;
	IF cardinality(ids) > 1 AND ids[1] <> value THEN
		RAISE EXCEPTION 'more than one backup begins with "%"', value USING ERRCODE = 'ambiguous_alias', HINT = 'Give more of the id.';
	END IF;
	RETURN ids[1];
END
$$;
COMMENT ON FUNCTION mbackup.find_backup(text) IS 'The whole id of a backup, or an error';

CREATE FUNCTION mbackup.has_daemon() RETURNS boolean LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS
$$ SELECT EXISTS (SELECT FROM mbackup.daemon_table WHERE replaced_by IS NULL AND seen > clock_timestamp() - '1 minute'::interval) $$;
COMMENT ON FUNCTION mbackup.has_daemon() IS 'Whether a daemon has shown a sign of life within a minute';

-- A job of a person.  session_user and the role that was SET cannot be pretended; current_user is the owner of the
-- function here.
CREATE FUNCTION mbackup.ask(kind text, arguments jsonb) RETURNS bigint LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT mbackup.has_daemon() THEN
		RAISE WARNING 'no daemon serves this catalog: the job waits' USING HINT = 'Start "mbackup daemon" on the database host, or look why it does not run.';
	END IF;
	RETURN mbackup.make_job(kind, arguments, session_user, coalesce(nullif(current_setting('role'), 'none')::name, session_user), NULL, NULL);
END
$$;
COMMENT ON FUNCTION mbackup.ask(text, jsonb) IS 'Add a job of the caller';
