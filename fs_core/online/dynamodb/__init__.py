"""The online store on DynamoDB: one item for each entity of each view."""

from fs_core.online.dynamodb.store import DynamoDBOnlineStore

__all__ = ["DynamoDBOnlineStore"]
