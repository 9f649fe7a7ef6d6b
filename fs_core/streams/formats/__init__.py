"""What messages are made of: JSON, or Avro and Protobuf as a schema file says."""
