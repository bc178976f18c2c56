"""The tests' own databases: real, empty, and one per test."""

import sqlalchemy


def test_each_test_gets_an_empty_database_it_can_write(empty_database_url: str) -> None:
    engine = sqlalchemy.create_engine(empty_database_url)
    with engine.begin() as connection:
        assert sqlalchemy.inspect(connection).get_table_names() == []
        connection.execute(sqlalchemy.text("CREATE TABLE seen (number integer)"))
        connection.execute(sqlalchemy.text("INSERT INTO seen VALUES (7)"))
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SELECT number FROM seen")) == 7
    engine.dispose()


def test_a_second_database_of_the_server_is_empty_too(empty_database_url: str) -> None:
    test_each_test_gets_an_empty_database_it_can_write(empty_database_url)


def test_postgresql_lives_on_a_private_socket_only(postgresql_url: str) -> None:
    engine = sqlalchemy.create_engine(postgresql_url)
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SHOW listen_addresses")) == ""
        assert connection.scalar(sqlalchemy.text("SELECT inet_server_addr()")) is None
    engine.dispose()
