/*-------------------------------------------------------------------------
 *
 * multi.c
 *	  What libcurl alone can do: pages over N kept-alive connections, thrown away.
 *
 * usage: multi CONNECTIONS FIRST LAST URL
 *
 * URL has a %d for the number of the page.  Prints pages a second and CPU milliseconds a
 * page.  gzip is asked for and decoded by libcurl, as etl decodes it; nothing is parsed.
 *
 *-------------------------------------------------------------------------
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

static long long bytes;

static size_t
count_bytes(char *data, size_t size, size_t count, void *argument)
{
	(void) data;
	(void) argument;
	bytes += size * count;
	return size * count;
}

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static double
cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_utime.tv_sec + usage.ru_utime.tv_usec / 1e6 + usage.ru_stime.tv_sec +
		   usage.ru_stime.tv_usec / 1e6;
}

static void
ask(CURLM *multi, CURL *easy, const char *url, int page)
{
	char this_url[4096];

	snprintf(this_url, sizeof(this_url), url, page);
	curl_easy_setopt(easy, CURLOPT_URL, this_url);
	curl_multi_add_handle(multi, easy);
}

int
main(int count, char **arguments)
{
	int connections, page, last, pages, left = 0, failed = 0;
	const char *url;
	double began, cpu;
	CURLM *multi;

	if (count != 5)
	{
		fprintf(stderr, "usage: multi CONNECTIONS FIRST LAST URL\n");
		return 2;
	}
	connections = atoi(arguments[1]);
	page = atoi(arguments[2]);
	last = atoi(arguments[3]);
	url = arguments[4];
	pages = last - page + 1;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) connections);
	began = seconds();
	cpu = cpu_seconds();
	for (int i = 0; i < connections && page <= last; i++)
	{
		CURL *easy = curl_easy_init();

		curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, count_bytes);
		curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
		curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 128L * 1024);
		curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1L);
		curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
		ask(multi, easy, url, page++);
		left++;
	}
	while (left > 0)
	{
		int running, queued;
		CURLMsg *message;

		curl_multi_perform(multi, &running);
		while ((message = curl_multi_info_read(multi, &queued)) != NULL)
		{
			CURL *easy = message->easy_handle;

			failed += message->data.result != CURLE_OK;
			curl_multi_remove_handle(multi, easy);
			if (page <= last)
				ask(multi, easy, url, page++);
			else
			{
				left--;
				curl_easy_cleanup(easy);
			}
			running = -1; /* what was added has to begin at once */
		}
		if (left > 0 && running >= 0)
			curl_multi_poll(multi, NULL, 0, 1000, NULL);
	}
	printf("%.1f %.3f\n", pages / (seconds() - began), (cpu_seconds() - cpu) * 1000 / pages);
	if (failed > 0)
		fprintf(stderr, "%d of %d requests failed\n", failed, pages);
	return failed > 0;
}
