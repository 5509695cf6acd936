/*
 * mbackup.c - what SQL cannot do: make WAL durable, and read all positions at one moment.
 *
 * pg_create_restore_point() writes a record and returns; nothing flushes it.  A server that crashes then has no such
 * restore point, although a mark speaks of it.  Without this library mbackup commits a small transaction behind it;
 * with it no transaction is needed.
 *
 * No hooks, no shared memory, no preloading: loaded into the session that calls it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/pg_lsn.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(mbackup_flush_wal);
PG_FUNCTION_INFO_V1(mbackup_wal_positions);

/* Positions of insertion and flushing do not exist while WAL comes from elsewhere. */
static void
refuse_in_recovery(void)
{
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("recovery is in progress"), errhint("Ask the primary server.")));
}

/*
 * The end of the last record.  GetXLogInsertRecPtr() is where the next one will begin: at the beginning of a page that is
 * past its header, which is not there yet and cannot be flushed.  (GetXLogInsertEndRecPtr() is not in every minor version.)
 */
static XLogRecPtr
end_of_wal(void)
{
	XLogRecPtr next = GetXLogInsertRecPtr();
	uint64 in_segment = XLogSegmentOffset(next, wal_segment_size);

	if (in_segment == SizeOfXLogLongPHD)
		return next - SizeOfXLogLongPHD;
	if (in_segment > XLOG_BLCKSZ && in_segment % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		return next - SizeOfXLogShortPHD;
	return next;
}

/* Every record that had been inserted when this was called is on disk when it returns. */
Datum
mbackup_flush_wal(PG_FUNCTION_ARGS)
{
	XLogRecPtr end;

	refuse_in_recovery();
	end = end_of_wal();
	XLogFlush(end);
	PG_RETURN_LSN(end);
}

/* Flushed before written before inserted: read in this order, none is ahead of the next. */
Datum
mbackup_wal_positions(PG_FUNCTION_ARGS)
{
	TupleDesc tupdesc;
	Datum values[4];
	bool nulls[4] = {false};
	XLogRecPtr flushed;
	XLogRecPtr written;
	TimeLineID timeline;

	refuse_in_recovery();
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
#if PG_VERSION_NUM >= 150000
	flushed = GetFlushRecPtr(&timeline);
#else
	flushed = GetFlushRecPtr();
	timeline = ThisTimeLineID;
#endif
	written = GetXLogWriteRecPtr();
	values[0] = LSNGetDatum(end_of_wal());
	values[1] = LSNGetDatum(written);
	values[2] = LSNGetDatum(flushed);
	values[3] = Int32GetDatum((int32) timeline);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}
