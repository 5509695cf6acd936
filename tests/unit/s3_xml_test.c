/* s3_xml_test.c - XML answers of MinIO, Ceph and AWS, and those that break. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "objectstore/s3_xml.h"

#define XML "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define NS "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

static void
parse(struct mb_s3_page *page, const char *text)
{
	struct mb_error err;

	mb_error_clear(&err);
	if (mb_s3_page_parse(page, text, strlen(text), &err))
		fail_msg("%s", err.message);
}

static void
refuses(const char *text, const char *because)
{
	struct mb_s3_page page;
	struct mb_error err;

	mb_error_clear(&err);
	assert_int_equal(mb_s3_page_parse(&page, text, strlen(text), &err), MB_CORRUPT);
	assert_non_null(strstr(err.message, because));
}

/* As MinIO RELEASE.2025-10-15T17-29-55Z answers to ?versions&metadata=true. */
static const char minio[] =
	XML "<ListVersionsResult " NS "><Name>shape</Name><Prefix></Prefix><KeyMarker></KeyMarker>"
		"<NextKeyMarker>a+b%2B%5Bminio_cache:v2,return:%5D</NextKeyMarker><NextVersionIdMarker>"
		"9d085e8c-abac-4d5b-ac74-03a3558ed5e2</NextVersionIdMarker><MaxKeys>3</MaxKeys>"
		"<IsTruncated>true</IsTruncated>"
		"<Version><Key>a+b%2Bc%25d/%C3%A9%01%7E</Key><LastModified>2026-11-24T15:17:44.551Z"
		"</LastModified><ETag>&#34;2fb1c5cf58867b5bbc9a1b145a86f3a0&#34;</ETag><Size>2</Size>"
		"<Owner><ID>02d6</ID><DisplayName>minio</DisplayName></Owner>"
		"<StorageClass>STANDARD</StorageClass><UserMetadata>"
		"<X-Amz-Meta-Up-Case>q &amp; &lt;</X-Amz-Meta-Up-Case><content-type>text/x</content-type>"
		"</UserMetadata><UserTags>a=b%20c&amp;d=</UserTags><Internal><K>1</K><M>0</M></Internal>"
		"<IsLatest>true</IsLatest><VersionId>e40548dd-ff12-4c0b-8c75-ada73abbb301</VersionId>"
		"</Version>"
		"<DeleteMarker><Key>plain</Key><LastModified>2026-11-24T15:17:44.560Z</LastModified>"
		"<ETag></ETag><Size>0</Size><StorageClass>STANDARD</StorageClass><IsLatest>true</IsLatest>"
		"<VersionId>016f2dc0-084d-4775-a2af-7faeef9a442c</VersionId></DeleteMarker>"
		"<Version><Key>plain</Key><LastModified>2026-11-24T15:17:44Z</LastModified>"
		"<ETag>&#34;x&#34;</ETag><Size>5497558138880</Size><IsLatest>false</IsLatest>"
		"<VersionId>null</VersionId></Version>"
		"<EncodingType>url</EncodingType></ListVersionsResult>";

static void
test_page__reads_what_minio_says(void **state)
{
	struct mb_s3_page page;
	const struct mb_s3_version *v;

	(void) state;
	parse(&page, minio);
	assert_int_equal(page.count, 3);
	assert_true(page.is_truncated);
	assert_string_equal(page.next_key, "a b+[minio_cache:v2,return:]");
	assert_string_equal(page.next_version, "9d085e8c-abac-4d5b-ac74-03a3558ed5e2");
	v = &page.versions[0];
	assert_string_equal(v->key, "a b+c%d/\xC3\xA9\x01~");
	assert_string_equal(v->version_id, "e40548dd-ff12-4c0b-8c75-ada73abbb301");
	assert_string_equal(v->etag, "2fb1c5cf58867b5bbc9a1b145a86f3a0");
	assert_int_equal(v->size, 2);
	assert_true(v->modified_ns == 1795533464551000000LL);
	assert_true(v->is_latest && !v->is_marker && v->has_metadata);
	assert_int_equal(v->metadata_count, 2);
	assert_string_equal(v->metadata[0].name, "X-Amz-Meta-Up-Case");
	assert_string_equal(v->metadata[0].value, "q & <");
	assert_string_equal(v->metadata[1].name, "content-type");
	assert_string_equal(v->tags, "a=b%20c&d=");
	assert_true(page.versions[1].is_marker && !page.versions[1].has_metadata);
	assert_string_equal(page.versions[1].etag, "");
	assert_true(page.versions[2].size == 5497558138880ULL);
	assert_string_equal(page.versions[2].version_id, "null");
	assert_false(page.versions[2].has_metadata);
	assert_null(page.versions[2].tags);
	mb_s3_page_release(&page);
}

static void
test_page__reads_what_ceph_says(void **state)
{
	struct mb_s3_page page;

	(void) state;
	parse(&page, XML "<ListVersionsResult " NS "><Name>b</Name><Prefix></Prefix><MaxKeys>1000"
					 "</MaxKeys><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>"
					 "<Version><Key>it&apos;s%20a%2Bb%2F%09</Key><VersionId>null</VersionId>"
					 "<IsLatest>true</IsLatest><LastModified>2026-11-24T15:17:44.551Z"
					 "</LastModified><ETag>&quot;2fb1-3&quot;</ETag><Size>12</Size>"
					 "<StorageClass>STANDARD</StorageClass><Type>Normal</Type></Version>"
					 "</ListVersionsResult>");
	assert_int_equal(page.count, 1);
	assert_string_equal(page.versions[0].key, "it's a+b/\t");
	assert_string_equal(page.versions[0].etag, "2fb1-3");
	assert_false(page.is_truncated);
	mb_s3_page_release(&page);
}

/* A plain listing: the token is no name, although it holds '+' and '%'. */
static void
test_page__reads_what_aws_says(void **state)
{
	struct mb_s3_page page;

	(void) state;
	parse(&page, XML "<ListBucketResult " NS "><Name>b</Name><Prefix/><NextContinuationToken>"
					 "1ueG+cx%2FLP=</NextContinuationToken><EncodingType>url</EncodingType>"
					 "<IsTruncated>true</IsTruncated><Contents><Key>my+image.jpg</Key>"
					 "<LastModified>2009-10-12T17:50:30Z</LastModified><ETag>&quot;fba9&quot;"
					 "</ETag><Size>434234</Size></Contents><CommonPrefixes>"
					 "<Prefix>photos%2F</Prefix></CommonPrefixes></ListBucketResult>");
	assert_int_equal(page.count, 1);
	assert_string_equal(page.versions[0].key, "my image.jpg");
	assert_string_equal(page.versions[0].version_id, "");
	assert_string_equal(page.next_key, "1ueG+cx%2FLP=");
	assert_int_equal(page.prefix_count, 1);
	assert_string_equal(page.prefixes[0], "photos/");
	mb_s3_page_release(&page);
}

static void
test_page__keeps_what_is_not_encoded(void **state)
{
	struct mb_s3_page page;

	(void) state;
	parse(&page,
		  "<ListVersionsResult><Version><Key>a+b%20</Key><LastModified>"
		  "2009-10-12T17:50:30Z</LastModified><Size>0</Size></Version></ListVersionsResult>");
	assert_string_equal(page.versions[0].key, "a+b%20");
	mb_s3_page_release(&page);
}

#define VERSION(members) "<ListVersionsResult><Version>" members "</Version></ListVersionsResult>"
#define TIME "<LastModified>2009-10-12T17:50:30Z</LastModified>"

static void
test_page__refuses_what_is_not_whole(void **state)
{
	(void) state;
	/* What MinIO makes of a metadata name with '!'. */
	refuses(VERSION("<Key>a</Key>" TIME "<Size>1</Size><UserMetadata><X-Amz-Meta-A!B>x"
					"</X-Amz-Meta-A!B></UserMetadata>"),
			"not well-formed");
	refuses("<ListVersionsResult><Version><Key>a</Key>", "not well-formed");
	refuses("", "not well-formed");
	refuses("<Error><Code>SlowDown</Code></Error>", "<Error>");
	refuses(VERSION(TIME "<Size>1</Size>"), "without a key");
	refuses(VERSION("<Key>a</Key><Size>1</Size>"), "without its time");
	refuses(VERSION("<Key>a</Key>" TIME), "or size");
	refuses(VERSION("<Key>a</Key>" TIME "<Size>-1</Size>"), "<Size>-1");
	refuses(VERSION("<Key>a</Key>" TIME "<Size>99999999999999999999</Size>"), "<Size>");
	refuses(VERSION("<Key>a</Key><LastModified>yesterday</LastModified>"), "yesterday");
	refuses("<!DOCTYPE a [<!ENTITY b \"c\">]><ListVersionsResult/>", "DOCTYPE");
	refuses("<ListVersionsResult><Version><Key>a%00b</Key>" TIME "<Size>1</Size></Version>"
			"<EncodingType>url</EncodingType></ListVersionsResult>",
			"NUL");
}

static void
test_xml__has_limits(void **state)
{
	struct mb_buf buf = {0};
	int i;

	(void) state;
	for (i = 0; i < 17; i++)
		mb_buf_put_str(&buf, "<ListVersionsResult>");
	refuses(mb_buf_cstr(&buf), "levels");
	mb_buf_reset(&buf);
	mb_buf_put_str(&buf, "<ListVersionsResult><Name>");
	for (i = 0; i < 65537; i++)
		mb_buf_put_u8(&buf, 'x');
	mb_buf_put_str(&buf, "</Name></ListVersionsResult>");
	refuses(mb_buf_cstr(&buf), "too long text");
	mb_buf_release(&buf);
}

static bool
find(const char *text, const char *path, struct mb_buf *out)
{
	return mb_xml_find(text, strlen(text), path, out);
}

static void
test_xml__finds_a_text(void **state)
{
	struct mb_buf out = {0};

	(void) state;
	/* MinIO sends blanks while it completes an upload. */
	assert_true(find("  \n" XML "<s:Error xmlns:s=\"x\"><s:Code>Slow<!-- x -->Down</s:Code>"
					 "</s:Error>",
					 "Error/Code", &out));
	assert_string_equal(mb_buf_cstr(&out), "SlowDown");
	assert_true(find("<A>1<B>2</B>3</A>", "A", &out));
	assert_string_equal(mb_buf_cstr(&out), "13");
	assert_false(find("<A/>", "A/B", &out));
	assert_false(find("{\"json\": true}", "A", &out));
	mb_buf_release(&out);
}

static void
test_xml__escapes_so_that_it_reads_back(void **state)
{
	const char *key = "a<b>&\"c'\xC3\xA9\t";
	struct mb_buf text = {0}, out = {0};

	(void) state;
	mb_buf_put_str(&text, "<K>");
	mb_xml_escape(&text, key);
	mb_buf_put_str(&text, "</K>");
	assert_true(mb_xml_find(text.data, text.len, "K", &out));
	assert_string_equal(mb_buf_cstr(&out), key);
	mb_buf_reset(&text);
	mb_xml_escape(&text, "\x01");
	assert_string_equal(mb_buf_cstr(&text), "&#x1;");
	mb_buf_release(&text);
	mb_buf_release(&out);
}

static void
test_time__is_read_to_the_nanosecond(void **state)
{
	int64_t ns;
	char text[40];

	(void) state;
	assert_true(mb_s3_time_parse(&ns, "2009-10-12T17:50:30.123456789Z"));
	assert_true(ns == 1255369830123456789LL);
	mb_s3_time_format(text, ns);
	assert_string_equal(text, "2009-10-12T17:50:30.123456789Z");
	assert_true(mb_s3_time_parse(&ns, "1969-12-31T23:59:59.5Z"));
	assert_true(ns == -500000000);
	mb_s3_time_format(text, ns);
	assert_string_equal(text, "1969-12-31T23:59:59.500000000Z");
	assert_true(mb_s3_time_parse(&ns, "2009-10-12T17:50:30.12345678901Z"));
	assert_false(mb_s3_time_parse(&ns, "2009-10-12T17:50:30"));
	assert_false(mb_s3_time_parse(&ns, "2009-10-12T17:50:30.Z"));
	assert_false(mb_s3_time_parse(&ns, "2009-13-12T17:50:30Z"));
	assert_false(mb_s3_time_parse(&ns, "0001-01-01T00:00:00Z"));
	assert_false(mb_s3_time_parse(&ns, "Mon, 12 Oct 2009 17:50:30 GMT"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_page__reads_what_minio_says),
		cmocka_unit_test(test_page__reads_what_ceph_says),
		cmocka_unit_test(test_page__reads_what_aws_says),
		cmocka_unit_test(test_page__keeps_what_is_not_encoded),
		cmocka_unit_test(test_page__refuses_what_is_not_whole),
		cmocka_unit_test(test_xml__has_limits),
		cmocka_unit_test(test_xml__finds_a_text),
		cmocka_unit_test(test_xml__escapes_so_that_it_reads_back),
		cmocka_unit_test(test_time__is_read_to_the_nanosecond),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
