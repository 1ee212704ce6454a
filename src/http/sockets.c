/*-------------------------------------------------------------------------
 *
 * sockets.c
 *	  The sockets curl waits for, and the WaitEventSet that holds them.
 *
 * curl says of a connection that nothing is to be waited for when an answer has come, and
 * the opposite again when the next request is sent over it, mostly before we wait.  So a
 * set, which cannot lose members, is made anew only when one is really to be lost, or its
 * descriptor was closed: epoll forgets it then, and it may stand for another file.  Of
 * descriptors that curl opens by itself (for its resolver) we are not told that; those are
 * lost at once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "http/transfer.h"
#include "http/wait_events.h"
#include "miscadmin.h"

static http_socket *find(http_client *client, curl_socket_t fd);
static http_socket *add(http_client *client, curl_socket_t fd);
static void forget(http_client *client, http_socket *entry);
static bool update_events(http_client *client);
static void create_events(http_client *client);

static http_socket *
find(http_client *client, curl_socket_t fd)
{
	for (int i = 0; i < client->socket_count; i++)
	{
		if (client->sockets[i].fd == fd)
			return &client->sockets[i];
	}
	return NULL;
}

/* Adds an entry; NULL when there is no memory. */
static http_socket *
add(http_client *client, curl_socket_t fd)
{
	http_socket *entry;

	if (client->socket_count == client->socket_capacity)
	{
		int capacity = Max(8, client->socket_capacity * 2);
		http_socket *sockets = MemoryContextAllocExtended(
			client->context, capacity * sizeof(http_socket), MCXT_ALLOC_NO_OOM);

		if (sockets == NULL)
			return NULL;
		if (client->sockets != NULL)
		{
			memcpy(sockets, client->sockets, client->socket_count * sizeof(http_socket));
			pfree(client->sockets);
		}
		client->sockets = sockets;
		client->socket_capacity = capacity;
	}
	entry = &client->sockets[client->socket_count++];
	memset(entry, 0, sizeof(*entry));
	entry->fd = fd;
	return entry;
}

/* Drops an entry, and the set if it is in there. */
static void
forget(http_client *client, http_socket *entry)
{
	client->events_spoiled |= entry->watched != 0;
	*entry = client->sockets[--client->socket_count];
}

/*
 * A connection's socket was opened.  False when there is no memory.  Never raises.
 */
bool
http_socket_opened(http_client *client, curl_socket_t fd)
{
	http_socket *entry = find(client, fd);

	if (entry != NULL)
		forget(client, entry);
	entry = add(client, fd);
	if (entry != NULL)
		entry->is_connection = true;
	return entry != NULL;
}

/*
 * A connection's socket is closed.  Never raises.
 */
void
http_socket_closed(http_client *client, curl_socket_t fd)
{
	http_socket *entry = client->closing ? NULL : find(client, fd);

	if (entry != NULL)
		forget(client, entry);
}

/*
 * curl waits for these events (WL_SOCKET_*) of a socket; 0: for none.  False when there is
 * no memory.  Never raises.
 */
bool
http_socket_wanted(http_client *client, curl_socket_t fd, uint32 events)
{
	http_socket *entry = find(client, fd);

	client->sockets_changed = true;
	if (entry == NULL && events != 0)
		entry = add(client, fd);
	if (entry == NULL)
		return events == 0;
	entry->events = events;
	if (events == 0 && !entry->is_connection)
		forget(client, entry);
	return true;
}

/*
 * Give up the WaitEventSet; the next wait builds another.
 */
void
http_client_drop_events(http_client *client)
{
	if (client->events != NULL)
		FreeWaitEventSet(client->events);
	client->events = NULL;
	for (int i = 0; i < client->socket_count; i++)
		client->sockets[i].watched = 0;
}

/* Brings the set up to date.  False when that cannot be: it has to be made anew. */
static bool
update_events(http_client *client)
{
	if (client->events == NULL || client->events_spoiled)
		return false;
	for (int i = 0; i < client->socket_count; i++)
	{
		http_socket *entry = &client->sockets[i];

		if (entry->events == entry->watched)
			continue;
		if (entry->events == 0 || (entry->watched == 0 && client->events_room == 0))
			return false;
		if (entry->watched == 0)
		{
			client->events_room--;
			entry->position =
				AddWaitEventToSet(client->events, entry->events, entry->fd, NULL, NULL);
		}
		else
			ModifyWaitEvent(client->events, entry->position, entry->events, NULL);
		entry->watched = entry->events;
	}
	return true;
}

/* Makes a set of the latch and the postmaster's death, with room for sockets to come. */
static void
create_events(http_client *client)
{
	int room = 2 * client->socket_count + 2;
	int size = room + 2;

	http_client_drop_events(client);
	if (client->occurred_capacity < size)
	{
		WaitEvent *occurred = MemoryContextAlloc(client->context, size * sizeof(WaitEvent));

		if (client->occurred != NULL)
			pfree(client->occurred);
		client->occurred = occurred;
		client->occurred_capacity = size;
	}
	client->events = etl_create_wait_event_set(client->context, size);
	client->events_spoiled = true; /* until all are in */
	AddWaitEventToSet(client->events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	if (IsUnderPostmaster)
		AddWaitEventToSet(client->events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	client->events_room = room;
	client->events_spoiled = false;
}

/*
 * Make client->events hold what is to be waited for.  Raises when there is no descriptor
 * or memory left.
 */
void
http_client_build_events(http_client *client)
{
	if (client->events != NULL && !client->sockets_changed && !client->events_spoiled)
		return;
	client->sockets_changed = true; /* until all are in */
	if (!update_events(client))
	{
		create_events(client);
		(void) update_events(client);
	}
	client->sockets_changed = false;
}
