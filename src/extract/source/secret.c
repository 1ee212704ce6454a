/*-------------------------------------------------------------------------
 *
 * secret.c
 *	  Secrets: inline, in a file of etl.secret_directory, in the server's environment.
 *
 * What lies on the server is read with the rights of the pipeline's owner and of the
 * server's owner, checked here and now.  Both, because it is the server's owner who says
 * where it is sent to: with the first check alone, who may not read files could have them
 * sent to a host of his by the pipeline of somebody who may.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"

#include "etl.h"
#include "extract/source/secret.h"

#define MAX_SECRET_BYTES 65536

/* What separates secrets in a list. */
#define SEPARATORS ", \t\r\n"

/*
 * Raises unless both the current role and the owner of the server may use what lies on
 * the server.  Needs a transaction.
 */
void
secret_check_rights(const char *option, Oid server_owner)
{
	Oid roles[] = {GetUserId(), server_owner};

	for (int i = 0; i < lengthof(roles); i++)
	{
		char *role;

		if (has_privs_of_role(roles[i], ROLE_PG_READ_SERVER_FILES))
			continue;
		role = GetUserNameFromId(roles[i], false);
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to use option \"%s\"", option),
				 i == 0 ? errdetail("Role \"%s\" may not read files or environment variables of "
									"the server.",
									role)
						: errdetail("Role \"%s\", which owns the foreign server and so says where "
									"secrets are sent to, may not read files or environment "
									"variables of the server.",
									role),
				 errhint("GRANT pg_read_server_files to it, or give the secret inline in the user "
						 "mapping.")));
	}
}

/*
 * Cuts white space off the end of a secret, and refuses what is empty or cannot be in a
 * header.
 */
static char *
clean(char *secret, const char *option)
{
	size_t length = strlen(secret);

	while (length > 0 && strchr(" \t\r\n", secret[length - 1]) != NULL)
		secret[--length] = '\0';
	for (size_t i = 0; i < length; i++)
	{
		if ((unsigned char) secret[i] < ' ' || secret[i] == 127)
			length = 0;
	}
	if (length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("the secret of option \"%s\" is empty or has control characters", option)));
	return secret;
}

/*
 * The text of a file in etl.secret_directory, palloc'd, as it is.  Raises when the roles
 * may not read it, when it is not there, and when it is no regular file of text.  Needs a
 * transaction.
 */
char *
secret_read_file(const char *option, const char *file_name, Oid server_owner)
{
	char path[MAXPGPATH];
	struct stat status;
	char *secret;
	int file;
	ssize_t got;

	secret_check_rights(option, server_owner);
	if (is_absolute_path(etl_secret_directory))
		snprintf(path, sizeof(path), "%s/%s", etl_secret_directory, file_name);
	else
		snprintf(path, sizeof(path), "%s/%s/%s", DataDir, etl_secret_directory, file_name);
	file = OpenTransientFile(path, O_RDONLY | PG_BINARY | O_NOFOLLOW | O_NONBLOCK);
	if (file < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open the secret file \"%s\": %m", file_name),
				 errhint("Files of secrets are in the directory etl.secret_directory names.")));
	if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size > MAX_SECRET_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("secret file \"%s\" is not a regular file of up to 64 kB", file_name)));
	secret = palloc0(status.st_size + 1);
	got = read(file, secret, status.st_size);
	if (got != status.st_size)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not read the secret file \"%s\": %m", file_name)));
	CloseTransientFile(file);
	if (strlen(secret) != got)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("the secret of option \"%s\" is empty or has control characters", option)));
	return secret;
}

/* The text that an option gives or names, palloc'd. */
static char *
read_text(const source_option *option, const char *value, Oid server_owner)
{
	const char *found;

	if (option->type == OPTION_FILE_NAME)
		return secret_read_file(option->name, value, server_owner);
	if (option->type != OPTION_VARIABLE_NAME)
		return pstrdup(value);
	secret_check_rights(option->name, server_owner);
	found = getenv(value);
	if (found == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("environment variable \"%s\" of option \"%s\" is not set", value,
							   option->name),
						errhint("It must be set in the environment of the server process.")));
	return pstrdup(found);
}

/*
 * The secret that an option gives or names, palloc'd.  Raises when it cannot be read, is
 * empty, or cannot be sent.  Needs a transaction.
 */
char *
secret_read(const source_option *option, const char *value, Oid server_owner)
{
	return clean(read_text(option, value, server_owner), option->name);
}

/*
 * The same for several secrets, separated by commas and white space: a List of palloc'd
 * strings, each once.
 */
List *
secret_read_list(const source_option *option, const char *value, Oid server_owner)
{
	char *rest = read_text(option, value, server_owner);
	List *secrets = NIL;

	for (rest += strspn(rest, SEPARATORS); *rest != '\0'; rest += strspn(rest, SEPARATORS))
	{
		size_t length = strcspn(rest, SEPARATORS);
		char *secret = clean(pnstrdup(rest, length), option->name);
		bool is_known = false;
		ListCell *cell;

		foreach (cell, secrets)
			is_known |= strcmp(lfirst(cell), secret) == 0;
		if (!is_known)
			secrets = lappend(secrets, secret);
		rest += length;
	}
	if (secrets == NIL)
		(void) clean(rest, option->name); /* raises: there is none */
	return secrets;
}
