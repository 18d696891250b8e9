from pipeline.config.resolve import unknown_key


def test_an_added_key_that_no_schema_has_is_refused_with_the_nearest() -> None:
    # Hydra itself refuses a + below a typed node; what is added as a whole dictionary shows here.
    assert "did you mean learning_rate" in unknown_key("qat.phases.qat.learning_rat")
    assert "did you mean dataset" in unknown_key("datset.path")
