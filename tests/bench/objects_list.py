"""objects_list.py BUCKET plain|metadata: list every version, page by page, reading no more of an answer
than where the next page begins: what nobody who lists a bucket can do without."""
import http.client
import os
import re
import sys
import urllib.parse

import boto3
import botocore.auth
import botocore.awsrequest

bucket, how = sys.argv[1:3]
endpoint = urllib.parse.urlsplit(os.environ["S3_ENDPOINT"])
credentials = boto3.Session(
    os.environ["S3_ACCESS"], os.environ["S3_SECRET"], region_name="us-east-1"
).get_credentials()
connection = http.client.HTTPConnection(endpoint.netloc)
markers = []
while True:
    query = [("encoding-type", "url"), ("max-keys", "1000"), ("versions", "")] + markers
    if how == "metadata":
        query.append(("metadata", "true"))
    url = f"{os.environ['S3_ENDPOINT']}/{bucket}?" + urllib.parse.urlencode(sorted(query))
    request = botocore.awsrequest.AWSRequest(method="GET", url=url)
    botocore.auth.S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
    connection.request("GET", url[len(os.environ["S3_ENDPOINT"]) :], headers=dict(request.headers))
    body = connection.getresponse().read().decode()
    if "<IsTruncated>true" not in body:
        break
    markers = [
        (name, urllib.parse.unquote_plus(re.search(f"<{tag}>([^<]*)<", body)[1]))
        for name, tag in [("key-marker", "NextKeyMarker"), ("version-id-marker", "NextVersionIdMarker")]
    ]
