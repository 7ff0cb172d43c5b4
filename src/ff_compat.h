/*
 * src/ff_compat.h
 *	  Where server versions differ, and nowhere else.
 */
#ifndef FF_COMPAT_H
#define FF_COMPAT_H

#include "storage/proc.h"
#include "utils/rel.h"

#if PG_VERSION_NUM < 150000
#error "ff needs PostgreSQL 15 or later"
#endif

#define FF_VERSION "1.0"

/* 17 moved the local transaction id */
#if PG_VERSION_NUM >= 170000
#define ff_my_lxid() (MyProc->vxid.lxid)
#else
#define ff_my_lxid() (MyProc->lxid)
#endif

/* 16 renamed the file node */
#if PG_VERSION_NUM >= 160000
#define ff_relation_file(rel) ((rel)->rd_locator.relNumber)
#else
#define ff_relation_file(rel) ((rel)->rd_node.relNode)
#endif

/* 16 has one function for the owners of all kinds of objects */
#if PG_VERSION_NUM >= 160000
#define ff_owns_table(relid, role) object_ownercheck(RelationRelationId, relid, role)
#else
#define ff_owns_table(relid, role) pg_class_ownercheck(relid, role)
#endif

#if PG_VERSION_NUM >= 160000
#define ff_owns_database(oid, role) object_ownercheck(DatabaseRelationId, oid, role)
#else
#define ff_owns_database(oid, role) pg_database_ownercheck(oid, role)
#endif

/* 17 can be asked for stronger locks, too */
#if PG_VERSION_NUM >= 170000
#define ff_holds_lock(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define ff_holds_lock(tag, mode) LockHeldByMe(tag, mode)
#endif

/* 18 can leave room in front of a minimal tuple */
#if PG_VERSION_NUM >= 180000
#define ff_form_minimal_tuple(desc, values, nulls) heap_form_minimal_tuple(desc, values, nulls, 0)
#define ff_copy_minimal_tuple(tuple) heap_copy_minimal_tuple(tuple, 0)
#else
#define ff_form_minimal_tuple(desc, values, nulls) heap_form_minimal_tuple(desc, values, nulls)
#define ff_copy_minimal_tuple(tuple) heap_copy_minimal_tuple(tuple)
#endif

/* 18 counts what an index scan does */
#if PG_VERSION_NUM >= 180000
#define ff_index_beginscan(heap, index, snapshot, keys)                                            \
	index_beginscan(heap, index, snapshot, NULL, keys, 0)
#else
#define ff_index_beginscan(heap, index, snapshot, keys)                                            \
	index_beginscan(heap, index, snapshot, keys, 0)
#endif

/* 18 has done away with a parameter of ExecutorRun */
#if PG_VERSION_NUM >= 180000
#define FF_RUN_PARAMETERS QueryDesc *query, ScanDirection direction, uint64 count
#define FF_RUN_ARGUMENTS query, direction, count
#else
#define FF_RUN_PARAMETERS QueryDesc *query, ScanDirection direction, uint64 count, bool once
#define FF_RUN_ARGUMENTS query, direction, count, once
#endif

/* 18 has a magic block that names the module */
#if PG_VERSION_NUM >= 180000
#define FF_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "ff", .version = FF_VERSION)
#else
#define FF_MODULE_MAGIC PG_MODULE_MAGIC
#endif

#endif /* FF_COMPAT_H */
